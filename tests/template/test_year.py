"""A year in minutes: the flights of 2013, month by month, through the real workflow files.

January is released. Every later month is predicted by what runs in production, logged, labelled
late, monitored; where a trigger says so a successor is trained, judged, released, and serves the
next month. `YEAR_OUT=docs scripts/engine.sh python -m pytest tests/test_year.py` writes the table
and the plot of docs/year.md.
"""

import http.client
import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import year_plot
from baked import BakedProject
from conftest import bake_into
from engine import docker, require_engine
from osv import osv
from test_workflows_cd import ANSWERED, cd, free_port, judged, patient, push, record, serving
from workflows import events
from workflows.github import FakeGitHub
from workflows.result import Run
from workflows.runner import run

pytestmark = [pytest.mark.slow, pytest.mark.long]

LEARNED, ASKED = 4000, 1500  # flights a month that the source gets, and that are predicted
KNOWN = ["time_hour", "dep_time", "sched_dep_time", "dep_delay", "sched_arr_time"]
KNOWN += ["carrier", "origin", "dest", "distance"]
LATE = 15  # minutes
SETTINGS = {
    "window: {days: 7, rows_min: 300": "window: {days: 28, rows_min: 300",
    "stopped_hours: 48": "stopped_hours: 1200",
    "policy: pull-request": "policy: promote",
}


@dataclass
class Year:
    """What goes on from month to month."""

    hub: FakeGitHub
    project: BakedProject
    ports: dict[str, int]
    flights: pd.DataFrame
    folder: Path
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def warehouse(self) -> Path:
        """The table that the team's data come from; it grows every month."""
        return self.folder / "warehouse" / "flights.csv"

    @property
    def places(self) -> dict[str, str]:
        return {"LOG_URL": str(self.folder / "log"), "LABELS_URL": str(self.folder / "labels")}

    def of(self, month: int) -> pd.DataFrame:
        found: pd.DataFrame = self.flights.loc[self.flights["time_hour"].dt.month == month]
        return found


def monthly(project: BakedProject) -> pd.DataFrame:
    """The same number of flights of each month, as known at take-off, and whether they were late."""
    project.run("./gatehouse", "data")
    every = pd.read_csv(project.path / "data/source.csv", parse_dates=["time_hour"])
    every = every[every["arr_delay"].notna()].assign(late=lambda t: t["arr_delay"] > LATE)
    parts = [
        part.sample(LEARNED, random_state=0).sort_values("time_hour", kind="stable")
        for _, part in every.groupby(every["time_hour"].dt.month)
    ]
    flights = pd.concat(parts)[[*KNOWN, "late"]].reset_index(drop=True)
    return flights.astype({"dep_time": int, "dep_delay": int})


def write(flights: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    flights.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%S")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeGitHub]:
    require_engine()
    place = tmp_path_factory.mktemp("github") / "hub"
    with FakeGitHub(place) as hub, osv({}) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OSV_URL", url)
        yield hub


@pytest.fixture(scope="module")
def year(
    hub: FakeGitHub, environments: BakedProject, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Year]:
    folder = tmp_path_factory.mktemp("year")
    flights = monthly(bake_into(folder / "example").borrow_environments(environments))
    source = folder / "warehouse" / "flights.csv"
    write(flights[flights["time_hour"].dt.month == 1], source)
    answers = {"data": str(source), "target": "late", "time_column": "time_hour"}
    answers["project_name"] = f"Year {os.getpid()}"
    project = bake_into(folder, **answers).borrow_environments(environments)
    hub.environments = environments.path
    ports = {"staging": free_port(), "production": free_port()}
    settings = "deploy.yaml"
    project.replace(settings, "port: 3001", f"port: {ports['staging']}")
    project.replace(settings, "port: 3000", f"port: {ports['production']}")
    project.replace(settings, "bake_seconds: 10", "bake_seconds: 2")
    project.replace(settings, "bake_seconds: 60", "bake_seconds: 3")
    for old, new in SETTINGS.items():
        project.replace("monitor.yaml", old, new)
    patient(project)
    # The source is imported, so that `dvc update` sees that the warehouse has grown.
    (project.path / "data/source.csv").unlink()
    project.run("./gatehouse", "--version")
    project.run(".venv/bin/dvc", "import-url", "--quiet", str(source), "data/source.csv")
    project.make("setup", "pipeline", "gate")
    project.git("remote", "add", "origin", str(hub.bare))
    push(project, "January")
    yield Year(hub, project, ports, flights, folder)
    for name in ports:
        words = ["docker", "stack", "rm", f"{project.path.name}-{name}"]
        subprocess.run(words, capture_output=True, check=False)


# --- a month ----------------------------------------------------------------------------------


def serve(year: Year, month: int) -> pd.DataFrame:
    """Production predicts flights of the month, one a request; what it was asked, with ids."""
    asked = year.of(month).sample(ASKED, random_state=1).sort_values("time_hour", kind="stable")
    asked = asked.assign(id=[f"2013-{month:02}-{k:05}" for k in range(len(asked))])
    connection = http.client.HTTPConnection("127.0.0.1", year.ports["production"], timeout=60)
    for name, row in zip(asked["id"], json.loads(rows_as_json(asked)), strict=True):
        headers = {"Content-Type": "application/json", "X-Request-Id": name}
        connection.request("POST", "/predict", json.dumps(row), headers)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
    connection.close()
    return asked


def rows_as_json(flights: pd.DataFrame) -> str:
    times = flights["time_hour"].dt.strftime("%Y-%m-%dT%H:%M:%S")
    return str(flights[KNOWN].assign(time_hour=times).to_json(orient="records"))


def collect(year: Year, asked: pd.DataFrame) -> int:
    """Bring the records out of the engine's volume, and put them at the hours of their flights.

    The service cannot know that a year goes by in minutes: the time is all that is changed.
    """
    volume = f"{year.project.path.name}-production_log"
    place = Path(docker("volume", "inspect", "--format", "{{.Mountpoint}}", volume))
    hours = dict(zip(asked["id"], asked["time_hour"], strict=True))
    deadline = time.monotonic() + 30
    while True:
        lines = [
            json.loads(line)
            for file in place.rglob("*.jsonl")
            for line in file.read_text().splitlines()
        ]
        mine = {line["id"]: line for line in lines if line["id"] in hours}
        if len(mine) == len(hours) or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    by_day: dict[str, list[str]] = {}
    for name, line in mine.items():
        moment = hours[name] + pd.Timedelta(minutes=len(by_day) % 59)
        line["time"] = moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        by_day.setdefault(line["time"][:10], []).append(json.dumps(line))
    for day, texts in by_day.items():
        folder = Path(year.places["LOG_URL"]) / day
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "000000-production-1-1.jsonl").write_text("\n".join(texts) + "\n")
    return len(mine)


def label(year: Year, asked: pd.DataFrame, month: int) -> None:
    """Truths come late: those of the last three days only with the next month."""
    place, late = Path(year.places["LABELS_URL"]), year.folder / "late"
    for folder in (place, late):
        folder.mkdir(exist_ok=True)
    for file in late.iterdir():
        file.rename(place / file.name)
    soon = asked["time_hour"] < asked["time_hour"].max() - pd.Timedelta(days=3)
    asked[soon][["id", "late"]].to_csv(place / f"2013-{month:02}.csv", index=False)
    asked[~soon][["id", "late"]].to_csv(late / f"2013-{month:02}-late.csv", index=False)


def grow(year: Year, month: int) -> None:
    """The warehouse has the flights up to the end of the month."""
    write(year.flights[year.flights["time_hour"].dt.month <= month], year.warehouse)


def workflow(year: Year, name: str, event: events.Event, until: pd.Timestamp) -> Run:
    variables = {**year.places, "AS_OF": until.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return run(year.hub, name, event, variables=variables, timeout=1800)


def history(year: Year, name: str) -> list[dict[str, Any]]:
    listed = year.hub.git("ls-tree", "--name-only", "monitoring").splitlines()
    text = year.hub.git("show", f"monitoring:{name}") if name in listed else ""
    return [json.loads(line) for line in text.splitlines()]


def release(year: Year) -> None:
    """CI judges main once more, as CT has asked it to, and CD follows."""
    ci = run(year.hub, "ci.yml", events.workflow_dispatch(year.hub), timeout=1800)
    assert ci.conclusion == "success", ci.text
    done = cd(year.hub, events.workflow_run(year.hub, ci.id))
    assert done.results == ANSWERED, done.text


def live(year: Year, month: int) -> dict[str, Any]:
    """One month, from its first flight to what became of it."""
    until = pd.Timestamp(2013, month, 1) + pd.offsets.MonthBegin(1)
    served = record(year.hub)["model"]
    assert serving(year.ports["production"]) == served
    asked = serve(year, month)
    assert collect(year, asked) == ASKED, "every prediction has left its record"
    label(year, asked, month)
    grow(year, month)
    seen = workflow(year, "monitor.yml", events.schedule(year.hub), until)
    assert seen.conclusion == "success", seen.text
    before = len(history(year, "training.jsonl"))
    trained = workflow(year, "ct.yml", events.workflow_run(year.hub, seen.id), until)
    assert trained.conclusion == "success", trained.text
    decided = history(year, "training.jsonl")[before:]
    if any(call.path.endswith("/ci.yml/dispatches") for call in trained.calls):
        release(year)
    entry = history(year, "history.jsonl")[-1]
    skill = entry["metrics"]["skill"]
    row = {
        "month": entry["until"][:7] if month == 12 else f"2013-{month:02}",
        "rows": entry["rows"],
        "drifted": entry["drifted"],
        "incidents": entry["incidents"],
        "reference": (skill["reference"] or {}).get("value"),
        "estimated": (skill["estimated"] or {}).get("value"),
        "reliable": (skill["estimated"] or {}).get("reliable"),
        "realised": (skill["realised"] or {}).get("value"),
        "trigger": decided[-1]["trigger"] if decided else "",
        "verdict": decided[-1]["state"] if decided else "",
        "why": (decided[-1].get("ended_as") or decided[-1]["why"]) if decided else "",
        "champion": served.removeprefix("sha256:"),
        "page": seen.artifact("monitor").get("monitor.html", b""),
    }
    row["month"] = f"2013-{month:02}"
    year.rows.append(row)
    return row


def told(rows: list[dict[str, Any]]) -> str:
    """The table of docs/year.md."""
    head = (
        "month | model | columns that moved | incidents | estimated | realised | trigger | verdict"
    )
    lines = [f"| {head} |", "|" + " --- |" * (head.count("|") + 1)]
    for row in rows:
        estimated = "-" if row["estimated"] is None else f"{row['estimated']:.3f}"
        cells = [
            row["month"],
            f"`{row['champion'][:7]}`",
            ", ".join(row["drifted"]) or "-",
            ", ".join(f"{name}: {level}" for name, level in sorted(row["incidents"].items()))
            or "-",
            estimated if row["reliable"] else f"({estimated})",
            "-" if row["realised"] is None else f"{row['realised']:.3f}",
            row["trigger"] or "-",
            row["verdict"] or "-",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def test_a_year_in_minutes(year: Year) -> None:
    # What CI says of a first push is seen in other tests; every later judgement is the real one.
    done = cd(year.hub, events.workflow_run(year.hub, judged(year.hub, year.project)))
    assert done.results == ANSWERED, done.text
    start = time.monotonic()
    for month in range(2, 13):
        row = live(year, month)
        print(f"{time.monotonic() - start:5.0f} s", told([row]).splitlines()[-1], row["why"])
    if place := os.environ.get("YEAR_OUT"):
        (Path(place) / "year-table.md").write_text(told(year.rows))
        (Path(place) / "year.svg").write_text(year_plot.plot(year.rows, "skill"))
        (Path(place) / "year-page.html").write_bytes(year.rows[-1]["page"])
    # Every month was predicted, watched and measured, estimate and truth alike.
    assert [row["rows"] for row in year.rows] == [pytest.approx(ASKED, rel=0.15)] * 11
    assert all(row["realised"] is not None and row["estimated"] is not None for row in year.rows)
    assert any(row["drifted"] for row in year.rows), "the seasons are seen"
    blessed = [row for row in year.rows if row["verdict"] == "blessed"]
    assert blessed, "at least one successor was trained, judged and released"
    champions = list(dict.fromkeys(row["champion"] for row in year.rows))
    assert len(champions) >= 2, "and has served after that"
    quiet = [row for row in year.rows if not row["trigger"]]
    assert quiet, "and not every month was a reason to train"
    assert b"Windows" in year.rows[-1]["page"]
