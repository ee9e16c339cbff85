"""Runs one workflow of a hub with act in host mode, in a machine as bare as GitHub's."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from workflows.events import Event
from workflows.github import READ_TOKEN, WRITE_TOKEN, FakeGitHub
from workflows.result import Run
from workflows.standins import artifacts

TESTS = Path(__file__).resolve().parents[1]
ACTIONS = TESTS / "workflows" / "actions"
TOOLS = Path(sys.executable).parent
RUNNERS = ("ubuntu-latest", "ubuntu-24.04", "ubuntu-22.04")
# What the machine needs to reach its package registries, and to be as fast as it is.
# An engine is the machine's as well, and what it can have without pulling.
PASSED_ON = (
    *("PIP_", "UV_", "SSL_", "LANG", "LC_", "OPENBLAS_", "TMPDIR", "PYENV_ROOT"),
    *("DOCKER_HOST", "IMAGE_"),
)
CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


def run(
    hub: FakeGitHub,
    workflow: str,
    event: Event,
    *,
    secrets: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    job: str = "",
    timeout: float = 900,
) -> Run:
    """Run ``.github/workflows/<workflow>`` for an event, as its commit has it.

    ``environment`` is added to the machine's, ``job`` runs that one and what it needs. Raises
    AssertionError where the workflow uses an action that has no stand-in, TimeoutExpired where it
    takes too long.
    """
    number = max(hub.runs, default=100) + 1
    place = Path(tempfile.mkdtemp(prefix=f"run-{number}-", dir=hub.folder))
    work = _work_tree(hub, event, place)
    path = Path(".github/workflows") / workflow
    assert (work / path).is_file(), f"{workflow} is not among the workflows of {event.sha[:9]}"
    shown = _begin(hub, number, yaml.safe_load((work / path).read_text()), str(path), event)
    token = WRITE_TOKEN if event.trusted else READ_TOKEN
    payload = place / "event.json"
    payload.write_text(json.dumps(event.payload), encoding="utf-8")
    given = {"GITHUB_TOKEN": token} | dict(secrets or {} if event.trusted else {})
    about = {
        "GITHUB_REF": event.ref,
        "GITHUB_SHA": event.sha,
        "GITHUB_RUN_ID": str(number),
        "GITHUB_RUN_NUMBER": str(number - 100),
        "GITHUB_RUN_ATTEMPT": "1",
    }
    command = [
        *(str(TOOLS / "act"), event.name, "--workflows", str(path), "--json"),
        *("--eventpath", str(payload), "--actor", event.actor, "--no-cache-server"),
        *("--defaultbranch", hub.default_branch, "--no-skip-checkout"),
        *("--action-cache-path", str(place / "runner")),
        *_pairs("--platform", dict.fromkeys(RUNNERS, "-self-hosted")),
        *_pairs("--secret", given),
        *_pairs("--var", variables or {}),
        *_pairs("--env", about),
        *_pairs("--local-repository", stand_ins(work, path)),
        *(f"--{kind}-file={os.devnull}" for kind in ("env", "secret", "var", "input")),
        *(("--job", job) if job else ()),
    ]
    before, calls = time.monotonic(), len(hub.calls)
    env = _machine(hub, place, event.trusted) | dict(environment or {})
    code, text = _act(command, work, env, timeout)
    kept = artifacts.artifacts(hub.artifacts_folder, number)
    done = Run(
        id=number,
        code=code,
        seconds=time.monotonic() - before,
        artifacts={one.name: one.zip(hub.artifacts_folder) for one in kept},
        calls=hub.calls[calls:],
    ).read(text.splitlines())
    jobs = [
        {"name": name, "status": "completed", "conclusion": r} for name, r in done.results.items()
    ]
    shown |= {"status": "completed", "conclusion": done.conclusion, "jobs": jobs}
    shutil.rmtree(place)
    return done


def pretended(hub: FakeGitHub, event: Event, candidate: Mapping[str, bytes]) -> int:
    """A run of CI that ended well, whatever its own files made of it, and handed this over.

    Gives its number. The worst that a pull request can do to the workflow that it brings along.
    """
    number = max(hub.runs, default=100) + 1
    shown = _begin(hub, number, {"name": "CI"}, ".github/workflows/ci.yml", event)
    job = {"name": "pass", "status": "completed", "conclusion": "success"}
    shown |= {"status": "completed", "conclusion": "success", "jobs": [job]}
    artifacts.put(hub.artifacts_folder, number, "candidate", candidate)
    return number


def _pairs(flag: str, values: Mapping[str, str]) -> list[str]:
    return [word for pair in values.items() for word in (flag, "=".join(pair))]


def stand_ins(work: Path, workflow: Path) -> dict[str, str]:
    """Every remote action the workflow can reach, and the folder that stands in for it."""
    remote: dict[str, str] = {}
    seen, waiting = set(), [work / workflow]
    while waiting:
        file = waiting.pop()
        seen.add(file)
        for used in uses(yaml.safe_load(file.read_text(encoding="utf-8"))):
            if used.startswith("./"):
                local = work / used / "action.yml"
                assert local.is_file(), f"{file.name} uses {used}, which is not in the repository"
                waiting += [local] if local not in seen else []
                continue
            name, _, ref = used.partition("@")
            owner, repository, *below = name.split("/")
            folder = ACTIONS / repository
            there = folder.joinpath(*below, "action.yml").is_file() and owner == "actions"
            assert there, f"{file.name} uses {used}, which has no stand-in in {ACTIONS}"
            remote[f"{owner}/{repository}@{ref}"] = str(folder)
    return remote


def uses(document: Any) -> list[str]:
    """Every value of a key ``uses`` in a workflow or action, however deep."""
    if isinstance(document, list):
        return [used for item in document for used in uses(item)]
    if not isinstance(document, dict):
        return []
    mine = [document["uses"]] if isinstance(document.get("uses"), str) else []
    return mine + [used for value in document.values() for used in uses(value)]


def _work_tree(hub: FakeGitHub, event: Event, place: Path) -> Path:
    """The commit that GitHub would read the workflow from, with the origin it would have."""
    work = place / "work"
    clone = ["git", "clone", "--quiet", "--no-checkout", str(hub.bare), str(work)]
    origin = f"https://github.com/{hub.repository}"
    branch = event.ref.removeprefix("refs/heads/")
    where = ["--detach"] if branch.startswith("refs/") else ["-B", branch]
    subprocess.run(clone, check=True, capture_output=True)
    for words in (
        ["fetch", "--quiet", "origin", event.sha],
        ["checkout", "--quiet", *where, event.sha],
        ["remote", "set-url", "origin", origin],
    ):
        subprocess.run(["git", "-C", str(work), *words], check=True, capture_output=True)
    return work


def _begin(hub: FakeGitHub, number: int, read: Any, path: str, event: Event) -> dict[str, Any]:
    """Show the run in the API, in progress."""
    pulls = (
        [event.payload["pull_request"]] if event.trusted and "pull_request" in event.payload else []
    )
    hub.runs[number] = {
        "id": number,
        "name": read.get("name", path),
        "path": path,
        "event": event.name,
        "run_number": number - 100,
        "run_attempt": 1,
        "status": "in_progress",
        "conclusion": None,
        "html_url": f"https://github.com/{hub.repository}/actions/runs/{number}",
        "pull_requests": [{"number": pull["number"]} for pull in pulls],
        "jobs": [],
        **event.about,
    }
    return hub.runs[number]


def _machine(hub: FakeGitHub, place: Path, trusted: bool) -> dict[str, str]:
    """The environment of a fresh runner: its own home, our git and API, little else."""
    home, tools = place / "home", place / "bin"
    (home / ".config" / "gh").mkdir(parents=True)
    tools.mkdir()
    (home / ".config" / "gh" / "config.yml").write_text(f"http_unix_socket: {hub.socket}\n")
    (home / ".gitconfig").write_text(
        f'[url "file://{hub.git_root}/"]\n\tinsteadOf = https://github.com/\n'
        # GitHub's runners have no identity either: a workflow that commits says who it is.
        "[user]\n\tuseConfigOnly = true\n[init]\n\tdefaultBranch = main\n",
        encoding="utf-8",
    )
    for name in ("pip", "uv"):  # where this machine finds its packages
        theirs = Path.home() / ".config" / name
        if theirs.exists():
            (home / ".config" / name).symlink_to(theirs)
    (tools / "uv").symlink_to(TOOLS / "uv")
    # act does not wait for the output of a step that fails: its last lines would be lost.
    (tools / "bash").write_text(
        '#!/bin/bash\n/bin/bash "$@"\nstatus=$?\n[ $status = 0 ] || sleep 1\nexit $status\n'
    )
    (tools / "bash").chmod(0o755)
    if docker := shutil.which("docker"):  # the one that belongs to the engine
        (tools / "docker").symlink_to(docker)
    for name in ("gh", "jq", "node"):
        assert shutil.which(name), f"{name} is not here: .ci/run installs what the workflows need"
    passed = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(PASSED_ON) or name in CERTIFICATES or name in PROXIES
    }
    if hub.environments:
        passed["HARNESS_ENVIRONMENTS"] = str(hub.environments)
    return {
        "UV_CACHE_DIR": str(Path.home() / ".cache" / "uv"),
        "PYENV_ROOT": str(Path.home() / ".pyenv"),
        **passed,
        "HOME": str(home),
        "PATH": f"{tools}:/usr/local/bin:/usr/bin:/bin",
        "HARNESS_HUB": str(hub.folder),
        "HARNESS_TESTS": str(TESTS),
        "HARNESS_PYTHON": sys.executable,
    }


def _act(command: list[str], work: Path, env: dict[str, str], timeout: float) -> tuple[int, str]:
    """Run act in a session of its own, so that nothing it started outlives it."""
    process = subprocess.Popen(
        command,
        cwd=work,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        text, _ = process.communicate(timeout=timeout)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, text
