"""CD for real: an engine in swarm mode, a registry, and the workflow as a release goes through it.

`scripts/engine.sh python -m pytest tests/test_workflows_cd.py` brings both. The tests follow one
project through its releases, so their order matters.
"""

import http.client
import json
import os
import socket
import subprocess
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from baked import BakedProject
from conftest import bake_into
from engine import require_engine
from osv import osv
from test_three_tasks import table
from workflows import events
from workflows.github import FakeGitHub
from workflows.result import Run
from workflows.runner import run
from workflows.standins.artifacts import Artifact

pytestmark = pytest.mark.slow

HOSTILE = '"; touch "$GITHUB_WORKSPACE/../never" #$(id)`id`${IFS}@everyone $(shell id)'
ANSWERED = {"image": "success", "staging": "success", "production": "success"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    require_engine()
    return {"staging": free_port(), "production": free_port()}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeGitHub]:
    place = tmp_path_factory.mktemp("github") / "hub"
    with FakeGitHub(place) as hub, osv({}) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSV_URL", url)
        yield hub


@pytest.fixture(scope="module")
def laptop(
    hub: FakeGitHub,
    environments: BakedProject,
    ports: dict[str, int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[BakedProject]:
    """A project with its first model, pushed; what it deploys goes with the tests."""
    folder = tmp_path_factory.mktemp("laptop")
    source = folder / "table.csv"
    table("binary").to_csv(source, index=False)
    answers = {"data": str(source), "target": "outcome"}
    answers["project_name"] = f"Released {os.getpid()}"
    project = bake_into(folder, **answers, time_column="when").borrow_environments(environments)
    hub.environments = environments.path
    settings = "deploy.yaml"
    project.replace(settings, "port: 3001", f"port: {ports['staging']}")
    project.replace(settings, "port: 3000", f"port: {ports['production']}")
    project.replace(settings, "bake_seconds: 10", "bake_seconds: 3")
    project.replace(settings, "bake_seconds: 60", "bake_seconds: 5")
    patient(project)
    project.make("setup", "pipeline", "gate")
    project.git("remote", "add", "origin", str(hub.bare))
    push(project, "First model")
    yield project
    for name in ("staging", "production"):
        stack = f"{project.path.name}-{name}"
        subprocess.run(["docker", "stack", "rm", stack], capture_output=True, check=False)


def patient(project: BakedProject) -> None:
    """This machine may be many times slower than a host."""
    gates = project.yaml("gates.yaml")
    for section, name in (("image", "latency_ms"), ("image", "startup_seconds")):
        value = gates[section][name]
        project.replace("gates.yaml", f"{name}: {value}", f"{name}: {value * 20}")
    project.replace("gates.yaml", f"p99_ms: {gates['release']['p99_ms']}", "p99_ms: 20000")


def push(project: BakedProject, message: str) -> None:
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", message)
    project.make("push")


def judged(hub: FakeGitHub, project: BakedProject, **other: Any) -> int:
    """The run of CI that passed for main, and the artifact that its workflow leaves then."""
    number = max(hub.runs, default=100) + 1
    event = events.push(hub)
    hub.runs[number] = {
        "id": number,
        "name": "CI",
        "path": ".github/workflows/ci.yml",
        "event": "push",
        "run_number": number - 100,
        "run_attempt": 1,
        "status": "completed",
        "conclusion": "success",
        "pull_requests": [],
        "jobs": [],
        **event.about,
        **other,
    }
    jobs = project.yaml(".github/workflows/ci.yml")["jobs"]
    steps = [
        step for step in jobs["judge"]["steps"] if step.get("with", {}).get("name") == "judged"
    ]
    folder = hub.artifacts_folder / str(number)
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / f"{number}.zip", "w") as archive:
        for name in steps[0]["with"]["path"].split("\n"):
            path = project.path / name
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                archive.write(file, file.relative_to(project.path).as_posix())
    made = Artifact(number, number, "judged", "0" * 64, 1)
    note = {"id": made.id, "run_id": number, "name": made.name, "digest": made.digest, "size": 1}
    (folder / f"{number}.json").write_text(json.dumps(note), encoding="utf-8")
    return number


def cd(hub: FakeGitHub, event: events.Event, **variables: str) -> Run:
    host = os.environ["DOCKER_HOST"]
    usual = {"STAGING_HOST": host, "PRODUCTION_HOST": host}
    usual["IMAGE_REPOSITORY"] = f"{os.environ['REGISTRY']}/acme/widget"
    base = {"IMAGE_BASE": os.environ["BASE_IMAGE"], "IMAGE_PROXY": os.environ["BASE_IMAGE"]}
    base["OSV_URL"] = os.environ["OSV_URL"]
    given = {name: value for name, value in (usual | variables).items() if value}
    return run(hub, "cd.yml", event, variables=given, environment=base, timeout=1800)


def release(hub: FakeGitHub, project: BakedProject, **variables: str) -> Run:
    return cd(hub, events.workflow_run(hub, judged(hub, project)), **variables)


def record(hub: FakeGitHub, environment: str = "production") -> Any:
    return json.loads(hub.git("show", f"environments:{environment}.json"))


def tip(hub: FakeGitHub) -> str:
    return hub.commit("refs/heads/environments")


def serving(port: int) -> str:
    """The digest of the model that answers at a port."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return text.partition('model_digest="')[2].partition('"')[0]


def issues(hub: FakeGitHub) -> list[dict[str, Any]]:
    return list(hub.store.get(f"/repos/{hub.repository}/issues", []))


def digest(project: BakedProject) -> str:
    return str(json.loads(project.read("blessing.json"))["model_digest"])


def test_a_candidate_goes_to_staging_and_production(
    hub: FakeGitHub, laptop: BakedProject, ports: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as bare:
        bare.setattr(hub, "environments", None)
        done = release(hub, laptop)
    assert done.results == ANSWERED, done.text
    for name, port in ports.items():
        assert serving(port) == digest(laptop), name
        assert record(hub, name)["model"] == digest(laptop)
    said = record(hub)
    assert said["image"].startswith(f"{os.environ['REGISTRY']}/acme/widget@sha256:"), "by digest"
    assert said["image"] == record(hub, "staging")["image"], "built once"
    assert said["commit"] == hub.commit("refs/heads/main")
    assert said["who"].startswith("mona (https://github.com/acme/widget/actions/runs/")
    assert "replay: nothing runs in production" in done.log("staging")
    kept = set(done.artifact("release"))
    assert {"reports/image.json", "predictions/golden.json", "blessing.json"} <= kept
    assert issues(hub) == []


def test_where_nothing_changed_nothing_is_released(hub: FakeGitHub, laptop: BakedProject) -> None:
    before = tip(hub)
    laptop.write("README.md", "# Widget\n")
    push(laptop, "Better words")
    done = release(hub, laptop)
    assert done.results == {"image": "success"}, done.text
    assert "Nothing new" in done.summaries["image"]
    assert tip(hub) == before


def test_without_a_host_it_is_proven_and_the_record_untouched(
    hub: FakeGitHub, laptop: BakedProject
) -> None:
    before = tip(hub)
    # The runner's engine is the same one here: another project, so that nothing is replaced.
    laptop.replace("pyproject.toml", f'name = "{laptop.path.name}"', 'name = "proven"')
    port = "port: {}".format
    original = laptop.read("deploy.yaml")
    settings = laptop.yaml("deploy.yaml")["environments"]
    for name in settings:
        laptop.replace("deploy.yaml", port(settings[name]["port"]), port(free_port()))
    push(laptop, "Another name")
    try:
        done = release(hub, laptop, STAGING_HOST="", PRODUCTION_HOST="", IMAGE_REPOSITORY="")
    finally:
        for name in settings:
            words = ["docker", "stack", "rm", f"proven-{name}"]
            subprocess.run(words, capture_output=True, check=False)
    assert done.results == {"image": "success"}, done.text
    log = done.log("image")
    assert "RUNS: staging runs" in log
    assert "RUNS: production runs" in log
    assert "ANSWERED: " in log
    assert "Proven, not released" in done.summaries["image"]
    assert "STAGING_HOST" in done.summaries["image"]
    assert tip(hub) == before
    laptop.replace("pyproject.toml", 'name = "proven"', f'name = "{laptop.path.name}"')
    laptop.write("deploy.yaml", original)
    push(laptop, "Its own name")


def test_the_next_one_is_compared_with_production(
    hub: FakeGitHub, laptop: BakedProject, ports: dict[str, int]
) -> None:
    first = record(hub)
    laptop.replace("params.yaml", "seed: 0\n\ningest", "seed: 1\n\ningest")
    laptop.make("pipeline", "gate")
    push(laptop, "Another seed")
    done = release(hub, laptop)
    assert done.results == ANSWERED, done.text
    assert serving(ports["production"]) == digest(laptop) != first["model"]
    assert "changed predictions" in done.log("staging")
    assert "Python packages, 0 known vulnerabilities" in done.log("image")
    held = json.loads(hub.git("show", f"{record(hub)['previous']}:production.json"))
    assert held["image"] == first["image"]


def test_a_rollback_by_hand(hub: FakeGitHub, laptop: BakedProject, ports: dict[str, int]) -> None:
    now, before = (
        record(hub),
        json.loads(hub.git("show", f"{record(hub)['previous']}:production.json")),
    )
    given = {"action": "rollback", "environment": "production", "why": HOSTILE}
    done = cd(hub, events.workflow_dispatch(hub, **given))
    assert done.results == {"by-hand": "success"}, done.text
    assert serving(ports["production"]) == before["model"] != now["model"]
    assert serving(ports["staging"]) == now["model"]
    said = record(hub)
    assert (said["action"], said["why"], said["image"]) == ("rollback", HOSTILE, before["image"])
    assert not list(hub.folder.rglob("never"))


def test_wrong_golden_answers_stop_it_and_open_an_issue(
    hub: FakeGitHub, laptop: BakedProject, ports: dict[str, int]
) -> None:
    before, serves = tip(hub), serving(ports["staging"])
    golden = laptop.read("predictions/golden.json")
    content = json.loads(golden)
    for answer in content["answers"]:
        answer["prediction"] = "neither"
    laptop.write("predictions/golden.json", json.dumps(content))
    touch(laptop, "Wrong")
    done = release(hub, laptop)
    laptop.write("predictions/golden.json", golden)
    assert done.results == {"image": "failure", "failed": "success"}, done.text
    assert (tip(hub), serving(ports["staging"])) == (before, serves)
    [issue] = issues(hub)
    assert issue["title"] == "A release failed"
    assert "image failed" in issue["body"]
    assert "golden request 0 was answered with" in issue["body"], issue["body"]


def package(project: BakedProject) -> str:
    return project.path.name.replace("-", "_")


def touch(project: BakedProject, message: str) -> None:
    """Another commit that makes another image of the same model."""
    path = f"src/{package(project)}/__init__.py"
    project.write(path, project.read(path) + f"# {message}\n")
    push(project, message)


def test_a_release_that_is_too_slow_goes_back_and_is_told_in_the_same_issue(
    hub: FakeGitHub, laptop: BakedProject, ports: dict[str, int]
) -> None:
    before = record(hub, "staging")
    laptop.replace("gates.yaml", "p99_ms: 20000", "p99_ms: 0.001")
    push(laptop, "Too strict")
    done = release(hub, laptop)
    laptop.replace("gates.yaml", "p99_ms: 0.001", "p99_ms: 20000")
    assert done.results == {"image": "success", "staging": "failure", "failed": "success"}, (
        done.text
    )
    after = record(hub, "staging")
    assert (after["action"], after["image"]) == ("rollback", before["image"])
    assert serving(ports["staging"]) == before["model"]
    [issue] = issues(hub)
    [comment] = hub.comments(issue["number"])
    assert "staging failed" in comment["body"]
    assert "the slowest 1 % of requests took over" in comment["body"]


def test_an_approval_by_pull_request(
    hub: FakeGitHub, laptop: BakedProject, ports: dict[str, int]
) -> None:
    before, serves = record(hub), serving(ports["production"])
    touch(laptop, "Ask first")
    done = release(hub, laptop, APPROVAL="pull-request")
    expected = {"image": "success", "staging": "success", "propose": "success"}
    assert done.results == expected, done.text
    assert (record(hub), serving(ports["production"])) == (before, serves), "nobody agreed yet"
    [pull] = hub.pulls.values()
    assert (pull["base"]["ref"], pull["head"]["ref"]) == ("environments", "release-production")
    assert "gh workflow run cd.yml -f action=deploy -f environment=production" in pull["body"]

    merge(hub, pull["number"])
    assert record(hub)["model"] == digest(laptop) != serves
    given = {"action": "deploy", "environment": "production", "why": "agreed"}
    done = cd(hub, events.workflow_dispatch(hub, **given), APPROVAL="pull-request")
    assert done.results == {"by-hand": "success"}, done.text
    assert serving(ports["production"]) == digest(laptop)
    assert record(hub)["previous"] is not None


def merge(hub: FakeGitHub, number: int) -> None:
    """One commit for the pull request, as .github/settings.json wants it."""
    tree = hub.git("rev-parse", f"refs/pull/{number}/merge^{{tree}}")
    made = hub.git("commit-tree", tree, "-p", tip(hub), "-m", "Squashed")
    hub.git("update-ref", "refs/heads/environments", made)


@pytest.mark.parametrize(
    "other",
    [
        {"conclusion": "failure"},
        {"conclusion": "cancelled"},
        {"event": "pull_request"},
        {"event": "workflow_dispatch", "head_branch": "tune"},
        {"head_branch": "tune"},
        {"head_repository": {"full_name": "eve/widget", "owner": {"login": "eve"}}},
    ],
)
def test_no_other_run_of_ci_releases_anything(
    hub: FakeGitHub, laptop: BakedProject, other: dict[str, Any]
) -> None:
    before = tip(hub)
    done = cd(hub, events.workflow_run(hub, judged(hub, laptop, **other)))
    assert done.results == {}, done.text
    assert tip(hub) == before
