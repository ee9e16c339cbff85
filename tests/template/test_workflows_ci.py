"""CI for real: what a team pushes, which jobs run, and what the pull request then says."""

import json
from collections.abc import Iterator

import pandas as pd
import pytest
from baked import AUTO, BakedProject, trees
from conftest import bake_into
from test_three_tasks import table
from workflows import events
from workflows.github import FakeGitHub
from workflows.result import Run
from workflows.runner import run

pytestmark = pytest.mark.slow

GREEN = dict.fromkeys(("changes", "code", "data", "model", "service", "report", "pass"), "success")
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
    answers = {"data": str(source), "target": "outcome", "project_name": "Widget"}
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


def the_comment(hub: FakeGitHub, number: int) -> str:
    (comment,) = hub.comments(number)
    return str(comment["body"])


def stages(done: Run) -> list[str]:
    """Stages that really ran in the job `model`, not those that DVC passed over."""
    lines = done.log("model").splitlines()
    return [line.split("'")[1] for line in lines if line.startswith("Running stage")]


def test_a_first_push_is_green(
    hub: FakeGitHub, laptop: BakedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "environments", None)  # as bare as a runner is
    done = ci(hub, events.push(hub))
    assert done.results == GREEN, done.text
    assert sorted(stages(done)) == sorted(laptop.yaml("dvc.yaml")["stages"]), "nothing was believed"
    assert done.summaries["report"].startswith("## ✅ Blessed: 3 of 3 rules hold on 500 test rows")
    assert set(done.artifacts) == {"report", "candidate", "verdict"}
    assert {"report.md", "report.html", "model-card.md", "ci.log"} <= set(done.artifact("report"))
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
    red = {"model": "failure", "pass": "failure"}
    assert done.results == {k: v for k, v in (GREEN | red).items() if k != "service"}, done.text
    assert stages(done)[:3] == ["train", "champion", "evaluate"], "the data were not made again"
    first = the_comment(hub, number)
    assert first.startswith("## ❌ Not blessed: skill may be worse than the champion by more than")
    assert "✅ data ❌ model ⏭️ service" in first
    assert "@everyone" not in first
    assert not list(hub.folder.rglob("never"))

    laptop.replace("params.yaml", trees(3), AUTO)
    laptop.replace("params.yaml", "seed: 0\n\ningest", "seed: 1\n\ningest")
    commit(laptop, "Another seed")
    hub.update_pull(number, laptop.path)
    done = ci(hub, events.pull_request(hub, number))
    assert done.results == GREEN, done.text
    second = the_comment(hub, number)
    assert second.startswith("## ✅ Blessed: 3 of 3 rules hold on 500 test rows")
    assert "the dvc.lock of this change records another model than the one judged here" in second
    assert "of this change records" not in first
    assert [call.method for call in done.calls if call.method != "GET"] == ["PATCH"]


def test_a_broken_schema_stops_before_training(hub: FakeGitHub, laptop: BakedProject) -> None:
    branch(laptop, "broken")
    source = laptop.path / "data/source.csv"
    pd.read_csv(source).drop(columns=["town"]).to_csv(source, index=False)
    laptop.run(".venv/bin/dvc", "add", "--quiet", "data/source.csv")
    commit(laptop, "Fewer columns")
    laptop.make("push")
    number = hub.open_pull(laptop.path, "broken")
    done = ci(hub, events.pull_request(hub, number))
    expected = {"changes", "code", "data", "report", "pass"}
    assert set(done.results) == expected, done.text
    assert {k for k, v in done.results.items() if v == "failure"} == {"data", "pass"}
    said = the_comment(hub, number)
    assert said.startswith("## ❌ Data gate closed: schema: town: the column is missing")
    assert "⏭️ model" in said


def test_data_that_nobody_pushed_are_missed_at_once(hub: FakeGitHub, laptop: BakedProject) -> None:
    branch(laptop, "forgotten")
    source = laptop.path / "data/source.csv"
    source.write_text(source.read_text() + "2030-01-01 00:00:00,0.1,north,high\n")
    laptop.run(".venv/bin/dvc", "add", "--quiet", "data/source.csv")
    commit(laptop, "A row more")
    number = hub.open_pull(laptop.path, "forgotten")
    done = ci(hub, events.pull_request(hub, number))
    assert done.results["data"] == done.results["pass"] == "failure", done.text
    assert "model" not in done.results
    said = the_comment(hub, number)
    assert said.startswith("## ❌ Stopped: data failed")
    assert "data not pushed: run 'gatehouse push'" in said, "backquotes would end the block"


def test_looser_thresholds_are_red_and_named(hub: FakeGitHub, laptop: BakedProject) -> None:
    branch(laptop, "loosen").replace("gates.yaml", "min: 0.02", "min: -9")
    commit(laptop, "Be kind")
    number = hub.open_pull(laptop.path, "loosen")
    done = ci(hub, events.pull_request(hub, number))
    assert done.results["model"] == done.results["pass"] == "failure", done.text
    said = the_comment(hub, number)
    assert said.startswith("## ❌ Thresholds loosened: gates.yaml is looser than origin/main's")
    assert "skill min 0.02 is now -9" in said


def test_prose_wants_no_model(hub: FakeGitHub, laptop: BakedProject) -> None:
    branch(laptop, "words").write("README.md", "# Widget\n")
    commit(laptop, "Better words")
    number = hub.open_pull(laptop.path, "words")
    done = ci(hub, events.pull_request(hub, number))
    assert done.results == dict.fromkeys(("changes", "code", "report", "pass"), "success"), (
        done.text
    )
    assert the_comment(hub, number).startswith("## ✅ Nothing to judge")


def test_a_fork_gets_its_comment_from_another_run(hub: FakeGitHub, laptop: BakedProject) -> None:
    branch(laptop, "gift").replace("params.yaml", AUTO, trees(3))
    commit(laptop, "A present")
    number = hub.open_pull(laptop.path, "gift", fork=True, author="eve")
    done = ci(hub, events.pull_request(hub, number))
    assert done.results["model"] == done.results["pass"] == "failure", done.text
    assert done.results["report"] == "success", "it had no right to comment, and did not try"
    assert hub.comments(number) == []
    assert "Not blessed" in done.summaries["report"]
    assert any("Not blessed" in text for _, level, text in done.annotations if level == "error")

    after = run(hub, "report.yml", events.workflow_run(hub, done.id))
    assert after.results == {"comment": "success"}, after.text
    said = the_comment(hub, number)
    assert said.startswith("## ❌ CI did not pass")
    assert "skill may be worse than the champion by more than 0.05" in said
    assert json.loads(done.artifact("verdict")["verdict.json"])["open"] is False


def test_a_run_by_hand_makes_nothing_again_that_did_not_change(
    hub: FakeGitHub, laptop: BakedProject
) -> None:
    """A bot's branch is tested so: no event tells of its pull request."""
    file = "data/.gitignore"
    branch(laptop, "idle").write(file, laptop.read(file) + "# nothing else\n")
    commit(laptop, "One word more")
    laptop.make("push")
    done = ci(hub, events.workflow_dispatch(hub, "idle"))
    assert done.results == GREEN, done.text
    assert stages(done) == ["champion"]
