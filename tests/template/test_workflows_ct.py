"""Continuous training for real: new data arrive, and each way it can end is seen on the hub.

The tests follow one project through its days, so their order matters.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from baked import BakedProject
from conftest import bake_into
from test_three_tasks import table
from workflows import events
from workflows.github import FakeGitHub
from workflows.result import Run
from workflows.runner import run

pytestmark = pytest.mark.slow

LOOKED = {"decide": "success", "train": "success"}
TRAINED = LOOKED | {"hand-over": "success"}
HOSTILE = '"; touch "$GITHUB_WORKSPACE/../never" #$(id)`id`${IFS}@everyone'
ROWS = 1600
REPORT: dict[str, Any] = {
    "window": {"from": "2026-11-20T00:00:00Z", "rows": 900, "labelled": 0},
    "findings": [
        {
            "check": "drift",
            "status": "fail",
            "message": f"town has moved {HOSTILE}",
            "fix": "train again",
            "value": 0.4,
            "threshold": 0.1,
            "incident": "drift",
        }
    ],
    "incidents": {"drift": "fail"},
    "metrics": {},
    "columns": [{"name": "town", "distance": 0.4, "drifted": True}],
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeGitHub]:
    with FakeGitHub(tmp_path_factory.mktemp("github") / "hub") as hub:
        yield hub


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of somebody else's, from which the project imports."""
    path = tmp_path_factory.mktemp("theirs") / "table.csv"
    table("binary").head(ROWS).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def laptop(
    hub: FakeGitHub,
    source: Path,
    environments: BakedProject,
    tmp_path_factory: pytest.TempPathFactory,
) -> BakedProject:
    """A project with its first model, whose table is imported; all of it is pushed."""
    answers = {"data": str(source), "target": "outcome", "project_name": "Widget"}
    project = bake_into(tmp_path_factory.mktemp("laptop"), **answers, time_column="when")
    project.borrow_environments(environments).be_patient()
    hub.environments = environments.path
    words = ("import-url", "--quiet", "--force", str(source), "data/source.csv")
    project.activated("dvc", *words)
    for old, new in (("per_day: 1", "per_day: 3"), ("windows: 2\n", "windows: 1\n")):
        project.replace("monitor.yaml", old, new)
    # What the monitor really does is not asked here.
    path = ".github/workflows/monitor.yml"
    project.replace(path, "./gatehouse data && ./gatehouse monitor --checks", "sh seen.sh")
    project.write("seen.sh", "mkdir -p reports\n")
    project.make("setup", "pipeline", "gate")
    project.git("remote", "add", "origin", str(hub.bare))
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "First model")
    project.make("push")
    return project


def ct(hub: FakeGitHub, event: events.Event) -> Run:
    return run(hub, "ct.yml", event, timeout=1800)


def decisions(hub: FakeGitHub) -> list[dict[str, Any]]:
    lines = hub.git("show", "monitoring:training.jsonl").splitlines()
    return [json.loads(line) for line in lines]


def issues(hub: FakeGitHub, state: str = "open") -> list[dict[str, Any]]:
    kept = hub.store.get(f"/repos/{hub.repository}/issues", [])
    return [one for one in kept if one["state"] == state]


def dispatched(done: Run) -> list[Any]:
    return [call.body for call in done.calls if call.path.endswith("/ci.yml/dispatches")]


def test_where_nothing_is_new_nothing_is_trained(
    hub: FakeGitHub, laptop: BakedProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as bare:
        bare.setattr(hub, "environments", None)
        done = ct(hub, events.push(hub))
    assert done.results == {"decide": "success"}, done.text
    assert "there is no reason to train (push)" in done.log("decide")
    done = ct(hub, events.schedule(hub))
    assert done.results == LOOKED, done.text
    assert "nothing asks for a training" in done.summaries["train"]
    assert issues(hub) == []
    assert "monitoring" not in hub.git("branch"), "a day on which nothing is to do leaves no line"


def test_new_rows_become_a_pull_request_on_which_ci_runs(
    hub: FakeGitHub, laptop: BakedProject, source: Path
) -> None:
    main = hub.commit("refs/heads/main")
    table("binary").head(ROWS + 200).to_csv(source, index=False)
    done = ct(hub, events.schedule(hub))
    assert done.results == TRAINED, done.text
    [pull] = hub.pulls.values()
    branch = pull["head"]["ref"]
    assert branch.startswith("retrain-")
    assert pull["title"] == "Retrain: data"
    assert "Blessed" in pull["body"]
    assert "data/source.csv changed since the model of the main branch" in pull["body"]
    changed = hub.git("diff", "--name-only", "main", branch).splitlines()
    assert changed == ["data/source.csv.dvc", "dvc.lock"]
    assert dispatched(done) == [{"ref": branch}]
    assert hub.commit("refs/heads/main") == main
    [line] = decisions(hub)
    assert (line["trigger"], line["state"]) == ("data", "blessed")
    assert line["key"].startswith(branch.removeprefix("retrain-"))

    # Whoever checks it out finds its data.
    laptop.git("fetch", "--quiet", "origin")
    laptop.git("checkout", "--quiet", "--force", f"origin/{branch}")
    shutil.rmtree(laptop.path / ".dvc/cache")
    (laptop.path / "data/source.csv").unlink()
    laptop.run("./gatehouse", "data")
    assert len(pd.read_csv(laptop.path / "data/source.csv")) == ROWS + 200


def test_the_same_again_is_known(hub: FakeGitHub, laptop: BakedProject) -> None:
    done = ct(hub, events.schedule(hub))
    assert done.results == LOOKED, done.text
    assert "this was trained already" in done.summaries["train"]
    assert len(decisions(hub)) == len(hub.pulls) == 1
    assert dispatched(done) == []


def test_drift_without_new_rows_is_refused_and_its_issue_says_why(
    hub: FakeGitHub, laptop: BakedProject, source: Path
) -> None:
    hub.git(
        "update-ref",
        "refs/heads/main",
        f"refs/heads/{next(iter(hub.pulls.values()))['head']['ref']}",
    )
    laptop.git("fetch", "--quiet", "origin")
    laptop.git("checkout", "--quiet", "--force", "-B", "main", "origin/main")
    model = json.loads(laptop.read("blessing.json"))["model_digest"]
    report = REPORT | {
        "model": model,
        "window": REPORT["window"] | {"until": "2026-11-27T00:00:00Z"},
    }
    laptop.write("seen.json", json.dumps(report))
    laptop.write("seen.sh", "mkdir -p reports && cp seen.json reports/monitor.json\n")
    laptop.git("add", "seen.json")
    laptop.git("commit", "--quiet", "--all", "--message", "What the monitor sees")
    hub.push(laptop.path)
    watched = run(hub, "monitor.yml", events.schedule(hub), timeout=900)
    assert watched.results == {"watch": "success", "tell": "success"}, watched.text
    [issue] = issues(hub)
    assert issue["title"] == "Monitor: the data have moved away from what the model knows"
    assert "@everyone" not in issue["body"]
    enabled = [c.path.split("/")[-2] for c in watched.calls if c.method == "PUT"]
    assert enabled == ["ct.yml", "monitor.yml"]
    assert set(watched.artifact("monitor")) >= {"monitor.json"}

    done = ct(hub, events.workflow_run(hub, watched.id))
    assert done.results == TRAINED, done.text
    line = decisions(hub)[-1]
    assert (line["trigger"], line["state"]) == ("drift", "refused")
    assert line["why"].startswith("no new labelled rows")
    [comment] = hub.comments(issue["number"])
    assert "no new labelled rows" in comment["body"]


def test_a_worse_model_is_an_issue_and_no_failure(
    hub: FakeGitHub, laptop: BakedProject, source: Path
) -> None:
    """The world has turned around: the newest rows, which judge, say the opposite of the others."""
    rows = table("binary").head(ROWS + 600)
    turned = rows.index >= ROWS
    rows.loc[turned, "outcome"] = rows.loc[turned, "outcome"].map(
        {"low": "middle", "middle": "low"}
    )
    rows.to_csv(source, index=False)
    given = {"reason": HOSTILE, "force": "false", "as_of": ""}
    done = ct(hub, events.workflow_dispatch(hub, **given))
    assert done.results == TRAINED, done.text
    assert decisions(hub)[-1]["state"] == "not-blessed", done.text
    issue = issues(hub)[-1]
    assert issue["title"] == "A new model was trained, and was not blessed"
    assert "Not blessed" in issue["body"]
    assert len(hub.pulls) == 1
    assert not list(hub.folder.rglob("never"))


def test_broken_data_go_to_a_branch_of_their_own(
    hub: FakeGitHub, laptop: BakedProject, source: Path
) -> None:
    main = hub.commit("refs/heads/main")
    table("binary").drop(columns=["town"]).to_csv(source, index=False)
    done = ct(hub, events.schedule(hub))
    assert done.results == TRAINED, done.text
    line = decisions(hub)[-1]
    assert line["state"] == "quarantined", done.text
    branch = f"quarantine-{line['key'][:12]}"
    names = hub.git("diff", "--name-only", "main", branch).splitlines()
    assert "data/source.csv.dvc" in names
    assert {"reports/report.md", "reports/data_gate.json"} <= set(names)
    assert "dvc.lock" not in names
    assert hub.commit("refs/heads/main") == main
    issue = issues(hub)[-1]
    assert issue["title"] == "New data are broken, and were not trained on"
    assert "town: the column is missing" in issue["body"]


def test_a_budget_that_is_used_up_refuses(
    hub: FakeGitHub, laptop: BakedProject, source: Path
) -> None:
    table("binary").head(ROWS + 300).to_csv(source, index=False)
    done = ct(hub, events.schedule(hub))
    assert done.results == TRAINED, done.text
    line = decisions(hub)[-1]
    assert line["state"] == "refused"
    assert line["why"].startswith("budget used up: 3 of 3 trainings of")
    assert "Training refused: data" in done.summaries["train"]


def test_what_breaks_is_one_issue_and_the_decision_is_open_again(
    hub: FakeGitHub, laptop: BakedProject, source: Path
) -> None:
    source.unlink()
    done = ct(hub, events.schedule(hub))
    expected = {"decide": "success", "train": "failure", "failed": "success"}
    assert done.results == expected, done.text
    issue = issues(hub)[-1]
    assert issue["title"] == "Continuous training failed"
    assert "dvc update" in issue["body"]
