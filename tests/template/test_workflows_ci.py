"""CI for real: what a team pushes, which jobs run, and what the pull request then says."""

import hashlib
import json
import zipfile
from collections.abc import Iterator

import pandas as pd
import pytest
from baked import AUTO, BakedProject, trees
from conftest import bake_into
from test_three_tasks import table
from workflows import events
from workflows.github import FakeGitHub
from workflows.result import Run
from workflows.runner import pretended, run

pytestmark = pytest.mark.slow

GREEN = {"candidate": "success"}
JUDGED = {"judge": "success", "tell": "success"}
CLOSED = JUDGED | {"judge": "failure"}
# What a title or the name of a branch may hold, and a shell would act upon.
HOSTILE = '"; touch "$GITHUB_WORKSPACE/../never" #$(id)`id`${IFS}@everyone'


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeGitHub]:
    with FakeGitHub(tmp_path_factory.mktemp("github") / "hub") as hub:
        yield hub


@pytest.fixture(scope="module")
def laptop(
    hub: FakeGitHub, environments: BakedProject, tmp_path_factory: pytest.TempPathFactory
) -> BakedProject:
    """A project whose first model was made here; all of it is pushed, by `make push`."""
    folder = tmp_path_factory.mktemp("laptop")
    source = folder / "table.csv"
    table("binary").to_csv(source, index=False)
    answers = {"data": str(source), "target": "outcome", "project_name": "Blue Widget"}
    project = bake_into(folder, **answers, time_column="when")
    project.borrow_environments(environments)
    hub.environments = environments.path
    project.make("setup", "pipeline", "gate")
    project.git("remote", "add", "origin", str(hub.bare))
    commit(project, "First model")
    project.make("push")
    return project


def commit(project: BakedProject, message: str) -> None:
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", message)


def branch(project: BakedProject, name: str) -> BakedProject:
    """A new branch of main, with the data that main has."""
    project.git("checkout", "--quiet", "--force", "-B", name, "origin/main")
    project.run(".venv/bin/dvc", "checkout", "--quiet", "--force")
    return project


def ci(hub: FakeGitHub, event: events.Event) -> Run:
    return run(hub, "ci.yml", event, timeout=3600)


def judge(hub: FakeGitHub, ci_run: int) -> Run:
    """What follows a run of CI, from the default branch."""
    return run(hub, "judge.yml", events.workflow_run(hub, ci_run), timeout=3600)


def the_comment(hub: FakeGitHub, number: int) -> str:
    (comment,) = hub.comments(number)
    return str(comment["body"])


def agreed(hub: FakeGitHub, number: int) -> bool:
    """Whether it could be merged once somebody approved, who owns nothing."""
    hub.approvals[number].add("lisa")
    return hub.mergeable(number)


def stages(done: Run, job: str) -> list[str]:
    """Stages that really ran in a job, not those that DVC passed over."""
    lines = done.log(job).splitlines()
    return [line.split("'")[1] for line in lines if line.startswith("Running stage")]


def handed(project: BakedProject) -> dict[str, bytes]:
    """What a run of CI would hand over of the model here, whatever it is worth."""
    names = list((project.path / "model").iterdir())
    model = {f"model/{path.name}": path.read_bytes() for path in names}
    return model | {"metrics.json": project.read("metrics.json").encode()}


def test_a_first_push_is_green(
    hub: FakeGitHub, laptop: BakedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "environments", None)  # as bare as a runner is
    done = ci(hub, events.push(hub))
    assert done.results == {"candidate": "success", "judge": "success"}, done.text
    everything = set(laptop.yaml("dvc.yaml")["stages"]) - {"catalogue"}
    assert set(stages(done, "candidate")) == everything, "nothing was believed"
    assert set(stages(done, "judge")) == everything - {"train"}
    assert done.summaries["judge"].startswith("## ✅ Blessed: 3 of 3 rules hold on 500 test rows")
    assert set(done.artifacts) == {"candidate", "judged"}
    assert {"model/model.json", "metrics.json", "ci.log"} <= set(done.artifact("candidate"))
    assert {"reports/report.html", "blessing.json"} <= set(done.artifact("judged"))
    assert [call for call in done.calls if call.method != "GET"] == []


def test_a_worse_model_is_red_then_a_better_one_edits_the_comment(
    hub: FakeGitHub, laptop: BakedProject
) -> None:
    branch(laptop, "tune").replace("params.yaml", AUTO, trees(3))
    # Its author forges the verdict, and pushes it where CI finds what others made.
    laptop.make("pipeline")
    blessing = json.loads(laptop.read("blessing.json"))
    assert blessing["blessed"] is False
    laptop.write("blessing.json", json.dumps(blessing | {"blessed": True, "reasons": []}))
    laptop.run(".venv/bin/dvc", "commit", "--quiet", "--force", "blessing")
    commit(laptop, HOSTILE)
    laptop.make("push")
    number = hub.open_pull(laptop.path, "tune", title=HOSTILE)
    done = ci(hub, events.pull_request(hub, number, "opened"))
    assert done.results == GREEN, done.text
    assert [call for call in done.calls if call.method != "GET"] == [], "it has no right"
    told = judge(hub, done.id)
    assert told.results == CLOSED, told.text
    assert stages(told, "judge")[0] == "ingest", "not even main's lock is believed"
    first = the_comment(hub, number)
    assert first.startswith("## ❌ Not blessed: skill may be worse than the champion by more than")
    assert "✅ CI ❌ judge" in first
    assert "@everyone" not in first
    assert not list(hub.folder.rglob("never"))
    assert not agreed(hub, number)

    laptop.replace("params.yaml", trees(3), AUTO)
    laptop.replace("params.yaml", "seed: 0\n\ningest", "seed: 1\n\ningest")
    laptop.make("pipeline")
    commit(laptop, "Another seed")
    laptop.make("push")
    hub.update_pull(number, laptop.path)
    begun = events.pull_request(hub, number)
    done = ci(hub, begun)
    waits = run(hub, "judge.yml", events.workflow_run(hub, done.id, "requested"))
    assert waits.results == {"begin": "success"}, waits.text
    assert not agreed(hub, number), "pass is pending"
    told = judge(hub, done.id)
    assert told.results == JUDGED, told.text
    second = the_comment(hub, number)
    assert second.startswith("## ✅ Blessed: 3 of 3 rules hold on 500 test rows")
    assert "of this change records" not in second
    assert agreed(hub, number)


STRICTER = b'"blessed": bool(reasons.append("nothing is good enough"))'
STEERING = {
    "GNUmakefile": "pipeline gate ci:\n\t@true\n",
    "tests/conftest.py": "import json, pathlib\npathlib.Path('blessing.json').write_text('{}')\n",
    "json.py": "raise SystemExit(0)\n",
    "sitecustomize.py": "import os\nos._exit(0)\n",
    "gatehouse": "#!/bin/sh\nexit 0\n",
    "dvc.yaml": "stages: {blessing: {cmd: 'true'}}\n",
    "uv.toml": "offline = true\n",
    "data/evil.dvc": "cmd: touch never\nouts:\n- path: x\n",
    ".github/workflows/judge.yml": "on: push\njobs: {}\n",
}


@pytest.mark.parametrize("fork", [False, True])
def test_attack_a_change_that_rewrites_all_that_judges_it(
    hub: FakeGitHub, laptop: BakedProject, fork: bool
) -> None:
    """ATTACK: a worse model with every file that steers make, Python, pytest, uv, DVC and CI, whose own run of CI ends green with a forged verdict, by a branch and by a fork | judge.yml of the default branch, which runs nothing of it"""
    name = f"attack-{fork}".lower()
    branch(laptop, name).replace("params.yaml", AUTO, trees(3))
    laptop.make("pipeline")
    forged = json.loads(laptop.read("metrics.json"))
    forged["test"]["skill"] = 0.999
    candidate = handed(laptop) | {
        "metrics.json": json.dumps(forged).encode(),
        "blessing.json": json.dumps({"blessed": True, "reasons": [], "rules": []}).encode(),
        "reports/report.md": b"## \xe2\x9c\x85 Blessed\n",
    }
    for file, text in STEERING.items():
        if file != "data/evil.dvc":
            laptop.write(file, text)
    source = next((laptop.path / "src").glob("*/__init__.py"))
    source.write_text("try:\n    open('never', 'w')\nexcept OSError:\n    pass\n")
    commit(laptop, "All is well")
    number = hub.open_pull(laptop.path, name, fork=fork, author="eve")
    told = judge(hub, pretended(hub, events.pull_request(hub, number), candidate))
    assert told.results == CLOSED, told.text
    said = the_comment(hub, number)
    assert said.startswith("## ❌ Not blessed: skill may be worse than the champion by more than")
    assert "the candidate's run says skill 0.999" in said
    assert not list(hub.folder.rglob("never"))
    hub.approvals[number].update(("lisa", "mona"))
    assert not hub.mergeable(number)


def test_attack_a_pointer_of_a_change_is_a_command(hub: FakeGitHub, laptop: BakedProject) -> None:
    """ATTACK: a `data/*.dvc` file holds a command, which `dvc repro` would run | refused: a pointer holds digests of a file beside it"""
    branch(laptop, "evil").write("data/evil.dvc", STEERING["data/evil.dvc"])
    commit(laptop, "More data")
    number = hub.open_pull(laptop.path, "evil", fork=True, author="eve")
    told = judge(hub, pretended(hub, events.pull_request(hub, number), {}))
    assert told.results == CLOSED, told.text
    assert the_comment(hub, number).startswith("## ❌ Not judged: data/evil.dvc is more than")
    assert not list(hub.folder.rglob("never"))
    assert not agreed(hub, number)


def test_a_broken_schema_stops_before_training(hub: FakeGitHub, laptop: BakedProject) -> None:
    branch(laptop, "broken")
    source = laptop.path / "data/source.csv"
    pd.read_csv(source).drop(columns=["town"]).to_csv(source, index=False)
    laptop.run(".venv/bin/dvc", "add", "--quiet", "data/source.csv")
    commit(laptop, "Fewer columns")
    laptop.make("push")
    number = hub.open_pull(laptop.path, "broken")
    done = ci(hub, events.pull_request(hub, number))
    assert done.results == {"candidate": "failure"}, done.text
    assert "train" not in stages(done, "candidate")
    told = judge(hub, done.id)
    assert told.results == CLOSED, told.text
    said = the_comment(hub, number)
    assert said.startswith("## ❌ Data gate closed: schema: town: the column is missing")
    assert not agreed(hub, number)


def test_data_that_nobody_pushed_are_missed_at_once(hub: FakeGitHub, laptop: BakedProject) -> None:
    branch(laptop, "forgotten")
    source = laptop.path / "data/source.csv"
    source.write_text(source.read_text() + "2030-01-01 00:00:00,0.1,north,high\n")
    laptop.run(".venv/bin/dvc", "add", "--quiet", "data/source.csv")
    commit(laptop, "A row more")
    number = hub.open_pull(laptop.path, "forgotten")
    done = ci(hub, events.pull_request(hub, number))
    assert done.results == {"candidate": "failure"}, done.text
    told = judge(hub, done.id)
    assert told.results == CLOSED, told.text
    said = the_comment(hub, number)
    assert said.startswith("## ❌ Not judged: a step of the judge failed")
    assert "data not pushed: run 'gatehouse push'" in said, "backquotes would end the block"


def test_looser_thresholds_are_red_and_named(hub: FakeGitHub, laptop: BakedProject) -> None:
    branch(laptop, "loosen").replace("gates.yaml", "min: 0.02", "min: -9")
    commit(laptop, "Be kind")
    number = hub.open_pull(laptop.path, "loosen")
    told = judge(hub, pretended(hub, events.pull_request(hub, number), handed(laptop)))
    assert told.results == CLOSED, told.text
    said = the_comment(hub, number)
    assert said.startswith("## ❌ Thresholds loosened: gates.yaml is looser than the base branch's")
    assert "skill min 0.02 is now -9" in said


def test_two_judges_speak_of_a_change_of_the_pin(
    hub: FakeGitHub, laptop: BakedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other library is stricter with the same rules: the base's opens, and both are told."""
    branch(laptop, "pin")
    (wheel,) = (laptop.path / "vendor").glob("*.whl")
    old = hashlib.sha256(wheel.read_bytes()).hexdigest()
    with zipfile.ZipFile(wheel) as archive:
        texts = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    texts["gatehouse/files/gates.txt"] += b"9.0.0: nothing is good enough.\n"
    blessing = texts["gatehouse/gates/blessing.py"]
    texts["gatehouse/gates/blessing.py"] = blessing.replace(b'"blessed": not reasons', STRICTER)
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in texts.items():
            archive.writestr(name, text)
    new = hashlib.sha256(wheel.read_bytes()).hexdigest()
    for lock in ("train", "checks", "serve"):
        laptop.replace(f"requirements/{lock}.txt", old, new)
    commit(laptop, "Another library")
    number = hub.open_pull(laptop.path, "pin")
    monkeypatch.setattr(hub, "environments", None)  # it has others
    done = ci(hub, events.pull_request(hub, number))
    assert done.results == GREEN, done.text
    told = judge(hub, done.id)
    assert told.results == JUDGED, told.text
    said = the_comment(hub, number)
    assert "judged by the base's pin: blessed; by the change's, in its own run: not blessed" in said
    assert "changes a gate, 9.0.0: nothing is good enough." in said
    assert "the pin of gatehouse-ml, 2.0.0, is another wheel" in said
    assert agreed(hub, number), "the base's pin judges"


def test_prose_wants_no_model(hub: FakeGitHub, laptop: BakedProject) -> None:
    branch(laptop, "words").write("README.md", "# Blue Widget\n")
    commit(laptop, "Better words")
    number = hub.open_pull(laptop.path, "words")
    done = ci(hub, events.pull_request(hub, number))
    assert done.results == GREEN, done.text
    assert stages(done, "candidate") == []
    told = judge(hub, done.id)
    assert told.results == JUDGED, told.text
    assert stages(told, "judge") == []
    assert the_comment(hub, number).startswith("## ⚠️ No verdict: nothing but prose changed")
    assert agreed(hub, number)


def test_a_run_by_hand_makes_nothing_again_that_did_not_change(
    hub: FakeGitHub, laptop: BakedProject
) -> None:
    """A bot's branch is tested so: no event tells of its pull request."""
    file = "src/blue_widget/features.py"
    branch(laptop, "idle").write(file, laptop.read(file))
    laptop.write("docs.txt", "nothing else\n")
    commit(laptop, "One word more")
    laptop.make("push")
    number = hub.open_pull(laptop.path, "idle", author="github-actions[bot]")
    done = ci(hub, events.workflow_dispatch(hub, "idle"))
    assert done.results == GREEN, done.text
    assert stages(done, "candidate") == ["champion"]
    assert not agreed(hub, number), "a check of a run that was dispatched is not its own"
    told = judge(hub, done.id)
    assert told.results == JUDGED, told.text
    assert hub.mergeable(number)
