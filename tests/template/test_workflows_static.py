"""Every workflow we hand out, in every option combination, and our own: rules and linters."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
import yaml
from conftest import TEMPLATE, bake_into
from workflows import rules
from workflows.known_actions import KNOWN
from workflows.runner import ACTIONS

from gatehouse.github.plain import needs_none

TOOLS = Path(sys.executable).parent
SAMPLE = Path(__file__).parent / "workflows" / "good.yml"
PIN = r"uses: ([\w./-]+)@([0-9a-f]{40})\b.*?# (v[\d.]+)"
OWN_LINES = 149  # of a workflow of the template's own; those of a project are shorter
# The id of a job, such as staging, is its name.
ZIZMOR = "rules: {anonymous-definition: {disable: true}}"


def combinations() -> Iterator[dict[str, str]]:
    """The defaults, and each other choice of each question that has choices."""
    yield {}
    questions = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))
    for name, choices in questions.items():
        if isinstance(choices, list) and not name.startswith("_"):
            yield from ({name: choice} for choice in choices[1:])


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each different ``.github``: of generated projects, and of the template."""
    found: dict[str, Path] = {}
    seen: set[str] = set()
    for answers in combinations():
        made = bake_into(tmp_path_factory.mktemp("baked"), **answers).path
        name = " ".join(f"{key}={value}" for key, value in answers.items()) or "defaults"
        content = repr([(p.relative_to(made), p.read_bytes()) for p in files(made)])
        if content not in seen:
            found[name] = made
        seen.add(content)
    own = tmp_path_factory.mktemp("own") / "template"
    if (TEMPLATE / ".github").is_dir():
        shutil.copytree(TEMPLATE / ".github", own / ".github")
        found["template"] = own
    return found


def files(root: Path, *patterns: str) -> list[Path]:
    wanted = patterns or ("**/*",)
    every = chain.from_iterable((root / ".github").glob(pattern) for pattern in wanted)
    return sorted(path for path in every if path.is_file())


def workflows(root: Path) -> list[Path]:
    return files(root, "workflows/*.yml", "workflows/*.yaml")


def actions(root: Path) -> list[Path]:
    return files(root, "actions/*/action.yml", "actions/*/action.yaml")


def tool(name: str, *words: str, cwd: Path) -> str:
    """What a linter finds, empty where nothing."""
    env = {"PATH": f"{TOOLS}:{os.environ['PATH']}", "HOME": str(cwd)}
    command = [str(TOOLS / name), *words]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    return f"{done.stdout}{done.stderr}" if done.returncode else ""


def test_there_are_workflows(roots: dict[str, Path]) -> None:
    assert {path.name for path in workflows(roots["defaults"])} >= {"ci.yml", "judge.yml"}


def test_the_template_has_workflows_of_its_own() -> None:
    assert workflows(TEMPLATE)


def test_every_file_keeps_the_rules(roots: dict[str, Path]) -> None:
    found = {
        f"{name}: {said}"
        for name, root in roots.items()
        for path in [*workflows(root), *actions(root)]
        for said in rules.broken(path, OWN_LINES if name == "template" else rules.MOST_LINES)
    }
    assert not found, "\n".join(sorted(found))


@pytest.mark.parametrize("name", ["ct.yml", "monitor.yml"])
def test_attack_a_package_takes_the_token_that_writes(roots: dict[str, Path], name: str) -> None:
    """ATTACK: a package that training or monitoring imports writes to the repository with the token of its job | such a job may only read; a job that may write starts verbs that need no environment"""
    jobs = yaml.safe_load((roots["defaults"] / ".github/workflows" / name).read_text())["jobs"]
    kinds = set()
    for job in jobs.values():
        writes = {scope for scope, how in job["permissions"].items() if how == "write"}
        runs = [step["run"].removeprefix("./gatehouse ") for step in job["steps"] if "run" in step]
        bare = [verb.split()[0] == "github" and needs_none(verb.split()[1:]) for verb in runs]
        assert all(bare) or not writes - {"id-token"}, job
        kinds.add(all(bare))
    assert kinds == {True, False}, "it has jobs of either kind"


def test_act_can_read_them(roots: dict[str, Path]) -> None:
    for name, root in roots.items():
        for path in workflows(root):
            words = ["--validate", "--strict", "--workflows", str(path)]
            empty = [f"--{kind}-file={os.devnull}" for kind in ("env", "secret", "var", "input")]
            assert not tool("act", *words, *empty, cwd=root), f"{name}: {path.name}"


def test_zizmor_finds_nothing(roots: dict[str, Path]) -> None:
    for name, root in roots.items():
        config = root / "zizmor.yml"
        config.write_text(ZIZMOR, encoding="utf-8")
        words = [
            "--offline",
            "--config",
            str(config),
            "--persona",
            "auditor",
            "--format",
            "plain",
            ".",
        ]
        assert not tool("zizmor", *words, cwd=root), name


def test_schemas_hold(roots: dict[str, Path]) -> None:
    for name, root in roots.items():
        for schema, paths in (
            ("github-workflows", workflows(root)),
            ("github-actions", actions(root)),
            ("dependabot", files(root, "dependabot.yml")),
            (
                "github-issue-forms",
                [p for p in files(root, "ISSUE_TEMPLATE/*.yml") if p.stem != "config"],
            ),
            ("github-issue-config", files(root, "ISSUE_TEMPLATE/config.yml")),
        ):
            words = ["--builtin-schema", f"vendor.{schema}", *map(str, paths)]
            assert not paths or not tool("check-jsonschema", *words, cwd=root), f"{name}: {schema}"


def test_actionlint_finds_nothing(roots: dict[str, Path]) -> None:
    for name, root in roots.items():
        git = ["git", "init", "--quiet", str(root)]  # it looks for local actions in a repository
        subprocess.run(git, check=True, capture_output=True)
        assert not tool("actionlint", "-no-color", cwd=root), name


def test_shellcheck_finds_nothing(roots: dict[str, Path], tmp_path: Path) -> None:
    scripts: set[str] = set()
    for _, root in roots.items():
        for path in [*workflows(root), *actions(root)]:
            for step in rules.steps(yaml.safe_load(path.read_text(encoding="utf-8"))):
                if "run" in step and step.get("shell", "bash") == "bash":
                    scripts.add(step["run"])
        scripts |= {path.read_text(encoding="utf-8") for path in root.rglob("*.sh")}
    scripts.add((TEMPLATE / ".ci" / "run").read_text(encoding="utf-8"))
    shipped = (TEMPLATE / "src/gatehouse/files").rglob("*.sh")
    scripts |= {path.read_text(encoding="utf-8") for path in shipped}
    paths = []
    for number, script in enumerate(sorted(scripts)):
        paths.append(tmp_path / f"{number}.sh")
        shebang = "" if script.startswith("#!") else "#!/usr/bin/env bash\n"
        paths[-1].write_text(shebang + script, encoding="utf-8")
    assert not tool("shellcheck", *map(str, paths), cwd=tmp_path)


def test_hadolint_finds_nothing(roots: dict[str, Path]) -> None:
    for name, root in roots.items():
        found = [path for path in root.rglob("*") if re.match(r"(Docker|Container)file", path.name)]
        assert not found or not tool("hadolint", *map(str, found), cwd=root), name


def test_versions_of_an_action_agree(roots: dict[str, Path]) -> None:
    """One version of an action, by one commit, wherever it is used; the sample's too."""
    found: dict[str, set[str]] = {}
    paths = [p for _, root in roots.items() for p in [*workflows(root), *actions(root)]]
    sample = Path(__file__).parent / "workflows" / "sample"
    for path in [*paths, *workflows(sample), *actions(sample)]:
        for name, *pin in re.findall(PIN, path.read_text(encoding="utf-8")):
            repository = "/".join(name.split("/")[:2])
            found.setdefault(repository, set()).add(" ".join(pin))
    assert found
    assert {name: pins for name, pins in found.items() if len(pins) > 1} == {}


def test_stand_ins_have_the_real_inputs() -> None:
    for path in ACTIONS.rglob("action.yml"):
        name = f"actions/{path.parent.relative_to(ACTIONS).as_posix()}"
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert read["inputs"].keys() == KNOWN[name].inputs, name
        assert read.get("outputs", {}).keys() == KNOWN[name].outputs, name


BAD = """
name: Bad
on: pull_request_target
jobs:
  one:
    runs-on: ubuntu-24.04
    steps:
      - uses: actions/checkout@v6
      - run: echo ${{ github.event.pull_request.title }}
      - run: echo ${{ steps.nowhere.outputs.x }}
        wiht: {}
"""


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("act --validate --strict --workflows .github/workflows/bad.yml", "Unknown Property wiht"),
        ("zizmor --offline --no-config --persona auditor .", "persist-credentials"),
        (
            "check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/bad.yml",
            "'wiht' was unexpected",
        ),
        ("actionlint -no-color", 'property "nowhere" is not defined'),
        ("shellcheck bad.sh", "SC2086"),
        ("hadolint Dockerfile", "DL3007"),
    ],
)
def test_each_linter_sees_a_fault(tmp_path: Path, command: str, said: str) -> None:
    (tmp_path / ".git").mkdir()
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "bad.yml").write_text(BAD, encoding="utf-8")
    (tmp_path / "bad.sh").write_text("#!/bin/sh\nrm $1/*\n", encoding="utf-8")
    (tmp_path / "Dockerfile").write_text("FROM debian:latest\nRUN cd /x\n", encoding="utf-8")
    name, *words = command.split()
    assert said in tool(name, *words, cwd=tmp_path)


@pytest.mark.parametrize("term", sorted(rules.PUSH_TO_MAIN))
def test_only_a_good_push_to_main_may_be_released(
    roots: dict[str, Path], tmp_path: Path, term: str
) -> None:
    """Without any one of the conditions, cd.yml would check out what others left."""
    text = (roots["defaults"] / ".github/workflows/cd.yml").read_text(encoding="utf-8")
    assert text.count(term) == 1
    bad = tmp_path / "cd.yml"
    bad.write_text(text.replace(term, "true"), encoding="utf-8")
    said = [line for line in rules.broken(bad) if "what a stranger left" in line]
    assert {line.split(" in job ")[1].split()[0] for line in said} >= {"image", "production"}


def test_what_a_job_may_trust_without_asking_is_started_by_nobody_else(
    roots: dict[str, Path],
) -> None:
    """A run of these can be followed by one that writes: no pull request, of nobody, starts them."""
    by_name = {}
    for path in workflows(roots["defaults"]):
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
        by_name[read["name"]] = set(read[True])
    assert {name: by_name[name] for name in rules.OURS} == {
        "Monitor": {"schedule", "workflow_dispatch"}
    }


def test_the_good_workflow_breaks_no_rule() -> None:
    assert rules.broken(SAMPLE) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (" # v6.0.2", "", "not pinned by a commit with its version"),
        ("@de0fac2e4500dabe0009e67214ff5f5447ce83dd", "@v6", "not pinned by a commit"),
        ("# v6.0.2", "# v4.2.2", "older than node 24"),
        ("actions/checkout@", "acme/checkout@", "not among the known actions"),
        ("fetch-depth: 2", "depth: 2", "actions/checkout has no input depth"),
        ("outputs.commit", "outputs.sha", "actions/checkout has no output sha"),
        ("permissions: {}\n\nconcurrency", "concurrency", "permissions at the top are not {}"),
        ("    permissions: {contents: read} # the code\n", "", "job code has no permissions"),
        ("permissions: {contents: read} # the code", "permissions: write-all", "all permissions"),
        ("    timeout-minutes: 5\n", "", "no timeout-minutes"),
        (" # the comment", "", "`pull-requests: write` does not say why"),
        ("pull-requests: write", "pull-requests: 'write'", "cannot read: say `scope: write # why`"),
        (
            'run: echo "$TITLE"',
            "run: echo ${{ github.head_ref }}",
            "has an expression in its script",
        ),
        ('run: echo "$TITLE"', "run: |\n" + "          true\n" * 11, "script of over 10 lines"),
        ("persist-credentials: false, ", "", "keeps the token"),
        ("name: Good\n", "", ""),
        (
            "permissions: {}\n\nconcurrency: good",
            "concurrency: good\npermissions: {}",
            "their order is",
        ),
        ("# When", "# Whenever", "does not say `When:`"),
        ("pull_request:", "pull_request_target:", "a stranger's code a token that may write"),
        ("17 4 * * 1", "0 4 * * 1", "late or dropped"),
        (
            "  pull_request:",
            "  workflow_run: {workflows: [CI]}",
            "what a stranger left is not to be run",
        ),
        (
            "contents: read} # the code",
            "contents: write} # tags",
            "job code may write, and restores",
        ),
        ("runs-on: x-code", "environment: staging", "job code may write, and restores"),
        ("  done:", "  pass:", "the judge sets the status pass"),
        (
            "# zizmor: ignore[excessive-permissions] one comment",
            "# zizmor: ignore[excessive-permissions]",
            "does not say why",
        ),
        ("# the end", "\n" * 150, "at most 99 are read"),
    ],
)
def test_each_rule_can_be_broken(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = SAMPLE.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "bad.yml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    found = rules.broken(path)
    if said:
        assert any(said in one for one in found), found
    else:
        assert found == []
