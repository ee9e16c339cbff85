"""What the monitor found, as issues: ``gatehouse github alerts``, after every pass.

One issue for each kind of incident: opened once, edited in place, closed by itself after some clean
windows in a row (``after_pass()``). ``gatehouse github alerts stopped`` asks whether the monitor
itself still runs (``stopped()``); a workflow that is not the monitor's must do so, and no
environment is needed for it.
"""

import os
import re
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from gatehouse.core.actions import WORKFLOWS
from gatehouse.core.console import say
from gatehouse.core.errors import GOOD, INFRASTRUCTURE, Stop
from gatehouse.core.files import read_json
from gatehouse.core.project import Project
from gatehouse.monitoring import history
from gatehouse.monitoring.clock import now
from gatehouse.monitoring.history import Line, moment, run_link
from gatehouse.registry import record
from gatehouse.registry.record import short
from gatehouse.report.markdown import number, show, table

from . import issues
from .api import call, reason
from .webhook import send

REPORT, SETTINGS = Path("reports/monitor.json"), Path("monitor.yaml")
KINDS = {
    "no-data": "no predictions are in the log",
    "broken-data": "what is asked breaks the schema",
    "drift": "the data have moved away from what the model knows",
    "performance": "the model is worse than it was judged to be",
    "fairness": "the model is worse for one group",
}
STOPPED = "monitoring-stopped"
SEVERITY = {"fail": "high", "warn": "low"}
MOST, WORDS, REPORT_BYTES = 30, 240, 10**7
STOPPED_HOURS, CLEAN_WINDOWS = 48.0, 2


@dataclass
class Standing:
    """How long an incident has stood: all windows since its first one, the clean ones last."""

    severity: str  # of the latest window that has it, "" without one
    since: str
    windows: int
    clean: int


@dataclass
class Alerts:
    """What is open on GitHub, and what has changed in this run."""

    open: list[dict[str, Any]] = field(default_factory=issues.every)
    news: list[str] = field(default_factory=list)

    def raise_(self, kind: str, severity: str, title: str, lines: list[str]) -> None:
        """Open the issue of ``kind``, or edit it; a comment where it became better or worse."""
        found = issues.find(f"alert-{kind}", self.open)
        start = issues.mark(f"alert-{kind}", severity=severity)
        labels = ("monitor", f"severity: {severity}")
        made = issues.put(found, title, "\n".join([start, *lines]), labels)
        before = issues.kept(found, "severity") if found else ""
        if before == severity:
            return
        link = made.get("html_url", "")
        if found:
            issues.tell(found["number"], f"Severity is {severity} now; it was {before or 'none'}.")
        if not found or severity == "high":
            word = "worse" if found else "new"
            self.news.append(f"{word} ({severity}): {title} {link}".strip())
        say(f"alerts: {'changed' if found else 'opened'}: {title}")

    def settle(self, kind: str, text: str) -> None:
        """Close the issue of ``kind``, if there is one."""
        if found := issues.find(f"alert-{kind}", self.open):
            issues.close(found["number"], text)
            self.open.remove(found)
            self.news.append(f"closed: {found['title']} {found.get('html_url', '')}".strip())
            say(f"alerts: closed: {found['title']}")


def after_pass(project: Project) -> int:
    """Write the pass to the branch, bring the issues up to date, say that the monitor lives."""
    # The job that made it runs other people's packages: it is looked at, and runs nothing here.
    if REPORT.is_symlink() or (REPORT.exists() and REPORT.stat().st_size > REPORT_BYTES):
        raise Stop("handed-over", f"{REPORT} is no report of a pass: see what the monitor says")
    report = read_json(REPORT, "run `make monitor`")
    line = history.require(report, str(REPORT))
    clean_windows = int(_setting("clean_windows", CLEAN_WINDOWS))
    history.add_pass(project, line)
    passes = history.passes(project, fetch=False)
    if moment(line["until"]) < moment(passes[-1]["until"]):
        say(f"alerts: the pass until {line['until']} is not the latest, so no issue is changed")
        return GOOD
    alerts = Alerts()
    for kind, words in KINDS.items():
        stands = standing(kind, passes, clean_windows)
        if stands.clean >= clean_windows:
            alerts.settle(kind, f"Clean for {_windows(stands.clean)} in a row, so this is over.")
        elif kind in line["incidents"] or (
            stands.windows and stands.clean and issues.find(f"alert-{kind}", alerts.open)
        ):
            lines = body(kind, stands, report, clean_windows)
            alerts.raise_(kind, stands.severity, f"Monitor: {words}", lines)
    alerts.settle(STOPPED, "The monitor runs again.")
    good = tell(alerts.news)
    keep_enabled()
    if good and (url := os.environ.get("HEARTBEAT_URL")):
        good = send("HEARTBEAT_URL", url)
    return GOOD if good else INFRASTRUCTURE


def standing(kind: str, passes: list[Line], clean_windows: int) -> Standing:
    """Windows with ``kind``, back to where ``clean_windows`` before it were clean."""
    stands, gap = Standing("", "", 0, 0), 0
    for one in reversed([one for one in passes if tells(kind, one)]):
        if kind not in one["incidents"]:
            gap += 1
            stands.clean += not stands.windows
            if gap >= clean_windows:
                break
            continue
        gap = 0
        stands.windows += 1
        stands.since = one.get("from") or one["until"]
        stands.severity = stands.severity or SEVERITY.get(one["incidents"][kind], "high")
    return stands


def tells(kind: str, one: Line) -> bool:
    """Whether a window says anything of ``kind``: where nothing was seen, nothing is clean."""
    if kind in one["incidents"]:
        return True
    if kind in ("performance", "fairness"):
        measured = (one.get("metrics") or {}).values()
        return any(
            m.get("realised") or (m.get("estimated") or {}).get("reliable") for m in measured
        )
    return kind == "no-data" or "no-data" not in one["incidents"]


def body(kind: str, stands: Standing, report: Line, clean_windows: int) -> list[str]:
    """What is wrong now, since when, and how to look; every word from the data is inert."""
    window = report["window"]
    rows = [int(window.get(name) or 0) for name in ("rows", "labelled")]
    model = short(str(report.get("model") or "")) or "unknown"
    lines = [
        f"**Since {_time(stands.since)}**, in {_windows(stands.windows)}. The latest: "
        f"{_time(window.get('from'))} to {_time(window['until'])} UTC, {rows[0]:,} predictions, "
        f"{rows[1]:,} with their truth, model `{show(model)}`.",
        "",
    ]
    found = [f for f in report.get("findings") or [] if f.get("incident") == kind]
    if stands.clean:
        left = clean_windows - stands.clean
        lines += [f"Not seen for {_windows(stands.clean)}; after {left} more this is closed.", ""]
    elif found:
        rows_ = [
            [
                show(f.get("check")),
                _value(f.get("value")),
                _value(f.get("threshold")),
                show(f.get("message"), WORDS),
                show(f.get("fix"), WORDS),
            ]
            for f in sorted(found, key=lambda f: f.get("status") != "fail")[:MOST]
        ]
        lines += [table("finding | value | threshold | what is seen | what to do", rows_), ""]
        lines += [f"{len(found) - MOST:,} more are in the report.", ""] if found[MOST:] else []
    as_of = f"{moment(window['until']):%Y-%m-%dT%H:%M:%SZ}"
    return [
        *lines,
        f"All of it: the artifacts of [this run]({run_link()}). On a laptop:",
        *("", "```sh", f"AS_OF={as_of} make monitor", "```", ""),
        f"This text follows every pass; after {_windows(clean_windows)} without it, it is closed.",
    ]


def stopped(project: Project) -> int:
    """Open the issue of a monitor that has stopped, or close it."""
    hours = float(_setting("stopped_hours", STOPPED_HOURS))
    times = [moment(one.get("when") or one["until"]) for one in history.passes(project)]
    if not times:
        released = record.written(project, "production", record.tip(project))  # for its time
        times = [moment(released.when)] if released else []
        what = "There was never a pass of the monitor, and production was released"
    else:
        what = "The last pass of the monitor was"
    alerts = Alerts()
    if times and now() - max(times) > timedelta(hours=hours):
        age = (now() - max(times)) / timedelta(hours=1)
        lines = [
            f"{what} **{age:,.0f} hours ago** ({max(times):%Y-%m-%d %H:%M} UTC); {hours:g} are "
            "allowed. While this is open, nobody watches production: no news is no good news.",
            "",
            f"Seen by [this run]({run_link()}). See why the workflow Monitor does not run or fails "
            "(the tab Actions; GitHub switches schedules off after 60 idle days), then:",
            "",
            "```sh",
            "gh workflow enable monitor.yml && gh workflow run monitor.yml",
            "```",
            "",
            "The next pass closes this.",
        ]
        alerts.raise_(STOPPED, "high", "Monitor: it has stopped", lines)
    else:
        alerts.settle(STOPPED, "The monitor runs again.")
        say("alerts: the monitor runs" if times else "alerts: there is nothing to watch yet")
    return GOOD if tell(alerts.news) else INFRASTRUCTURE


def keep_enabled() -> None:
    """Switch every workflow with a schedule on: GitHub switches them off after 60 idle days."""
    for path in sorted(WORKFLOWS.glob("*.yml")):
        if re.search(r"^ +schedule:|[{ ]schedule: *\[", path.read_text("utf-8"), re.MULTILINE):
            where = f"repos/{os.environ['GITHUB_REPOSITORY']}/actions/workflows/{path.name}/enable"
            status, said = call("PUT", where)
            if status >= 300:
                say(f"alerts: {path.name} could not be kept on ({reason(said) or status})")


def tell(news: list[str]) -> bool:
    """What is new, to the chat, if ALERT_WEBHOOK names one; False where it was not reached."""
    if not news or not (url := os.environ.get("ALERT_WEBHOOK")):
        return True
    return send("ALERT_WEBHOOK", url, "\n".join([os.environ["GITHUB_REPOSITORY"], *news]))


def _setting(name: str, usual: float) -> float:
    """A number of the section ``alerts`` of monitor.yaml, read without an environment."""
    text = SETTINGS.read_text("utf-8") if SETTINGS.exists() else ""
    found = re.search(rf"^(?:alerts:.*[\x7b ,]| +){name}: *([\d.]+)", text, re.MULTILINE)
    if not found and re.search(rf"\b{name}:", text):
        raise Stop("config-entry", f"{SETTINGS}: alerts.{name} is no number: correct this entry")
    return float(found[1]) if found else usual


def _value(value: Any) -> str:
    if value is None or isinstance(value, (int, float)):
        return number(value)
    return show(value)


def _windows(count: int) -> str:
    return f"{count} window{'s' * (count != 1)}"


def _time(said: Any) -> str:
    try:
        return f"{moment(str(said)):%Y-%m-%d %H:%M}"
    except ValueError:
        return show(said)
