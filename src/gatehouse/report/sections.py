"""The sections of the report, in the order in which a reviewer decides."""

import os
import re
from pathlib import Path
from typing import Any

from gatehouse.core.config.results import Checks, Entry, Metrics, dump, read_result
from gatehouse.core.config.rules import is_number
from gatehouse.core.digests import CARD, MODEL
from gatehouse.core.files import read_json, read_yaml
from gatehouse.core.findings import Finding
from gatehouse.core.layout import CHAMPION_ORIGIN as ORIGIN
from gatehouse.core.layout import METRICS as MEASURED
from gatehouse.core.project import Project
from gatehouse.gates import blessing
from gatehouse.gates import data_gate as data
from gatehouse.metrics.table import METRICS
from gatehouse.vcs.git import git

from .markdown import JUDGING, Chart, Section, bullets, number, show, table

MOST, WORST, BARS, TEXT = 40, 10, 8, 300
ABOUT_DATA = re.compile(
    "(schema|values: |unknown columns|personal: )|.*drift$|(champion_)?new_|.*_change$"
)
SIGNS = {"min": "≥ ", "max": "≤ ", "margin": "margin ", "gain": "gain > ", "gap": "gap ≤ "}
BUDGET = Path("reports/budget.json")
IMPORTANCE = Path("predictions/importance.json")
FIGURES = ("size_mb", "latency_ms", "rows_per_second")
HEAD = "Metric | Slice | Asked | Against | Candidate | Difference | Improvement (95 %) | Verdict"

Facts = dict[str, Any]
Blocks = list[str | Chart]


def report(project: Project, found: Facts) -> tuple[str, list[Section]]:
    """The verdict in one line, and the sections, of what ``verdict.collect`` found."""
    facts = found | {"metrics": {"test": {}}}
    facts["checks"] = {"data": read_result(project / data.CHECKS, Checks)}
    judged = facts["blessing"] or {}
    facts["findings"] = [Entry(**entry).finding() for entry in facts["data_gate"]["findings"]]
    # Behind a closed data gate the files about the model, if there are any, are of an older run.
    if judged:
        facts["metrics"] = dump(read_result(project / MEASURED, Metrics))
        facts["checks"]["model"] = of_model = read_result(project / blessing.CHECKS, Checks)
        entries = of_model.findings + read_result(project / blessing.TESTS, Checks).findings
        facts["findings"] += [entry.finding() for entry in entries]
    facts["champion"] = dict(judged.get("champion") or {})
    if facts["champion"].get("model_digest"):
        facts["champion"] |= _read(project / ORIGIN)
    # What closes comes first, and of what passes, all rows before their slices.
    facts["rules"] = sorted(judged.get("rules", []), key=lambda rule: rule["passed"] is True)
    worst = _worst(facts["rules"], facts["metrics"]["test"])
    title, reasons = _verdict(facts, judged)
    beaten, own = str(judged.get("beaten") or ""), _own(facts)
    judging, pins = _told(facts["judging"]), _told(facts["pins"])
    body = [
        Section(JUDGING, 12, judging),
        Section("Two judges", 12, pins),
        Section("A simpler model is better", 11, [show(beaten, TEXT)] if beaten else []),
        Section("Judged by own code", 10, [show(own, TEXT)] if own else []),
        Section("Reasons", 8, [bullets(reasons, 20)] if len(reasons) > 1 else []),
        Section("Gates", 9, _gates(project, facts)),
        Section("Worst slices", 4, _slices(worst)),
        Section("Data", 5, _data(facts)),
        Section("Checks", 6, _checks(facts["findings"])),
        Section("What the model looks at", 2, _importance(project) if judged else []),
        Section("Service", 3, _service(project, judged) if judged else []),
        Section("Plots", 1, _plots(project, worst) if judged else []),
        Section("Reproduce", 10, _reproduce(project)),
        Section("Not run, and why", 7, [bullets(_not_run(project, facts, judged))]),
    ]
    return title, [section for section in body if section.blocks]


def _told(sentences: list[str]) -> Blocks:
    return [bullets([show(said, TEXT) for said in sentences], 20)] if sentences else []


def _own(facts: Facts) -> str:
    """A sentence where stages that judge run other code than the library's."""
    own = facts.get("own") or []
    return f"Stages of dvc.yaml that are not the library's: {', '.join(own)}" if own else ""


def _verdict(facts: Facts, judged: Facts) -> tuple[str, list[str]]:
    reasons, loosened = facts["reasons"], len(facts["loosened"])
    recorded = bool(judged and facts["recorded"])
    known = loosened + len(judged.get("reasons", [])) + recorded
    if facts["open"]:
        count, rows = len(facts["rules"]), number(judged.get("rows"))
        if not count or not all(rule["passed"] is True for rule in facts["rules"]):
            raise ValueError("blessed without passing every rule")
        return f"✅ Blessed: {count:,} of {count:,} rules hold on {rows} test rows", []
    head = "❌ Not blessed" if judged else "❌ Data gate closed"
    if judged and len(reasons) > known:  # what the verdict adds is that the blessing is an old one
        head, reasons = "⚠️ Stale", reasons[known:] + reasons[:known]
    elif loosened:
        head = "❌ Thresholds loosened"
    elif recorded and len(reasons) == 1:
        head = "❌ Another model recorded"
    lines = [show(r.removeprefix("data gate: "), TEXT) for r in reasons] or [
        "no reason was recorded"
    ]
    return f"{head}: {lines[0]}{f' (and {len(lines) - 1:,} more)' if lines[1:] else ''}", lines


def _gates(project: Project, facts: Facts) -> Blocks:
    gate, champion, rules = facts["data_gate"], facts["champion"], facts["rules"]
    about = (
        f"Data gate {'open' if gate['open'] is True else 'closed'}, {number(gate['rows'])} rows."
    )
    if not facts["blessing"]:
        return [f"{about} No candidate was trained or judged."]
    if model := champion.get("model_digest"):
        ref, commit = show(champion.get("ref")), show(str(champion.get("commit"))[:12])
        about += f" Champion: {ref} at {commit}, model {show(str(model)[:19])}."
    else:
        about += f" No champion ({show(champion.get('bootstrap') or 'none is recorded', TEXT)})."
    about += _choice(project)
    train, test = facts["metrics"]["train"], facts["metrics"]["test"]
    values = [f"{show(m)} {number(test[m])} ({number(train.get(m))})" for m in test if m != "rows"]
    shown = rules[: max(MOST, sum(rule["passed"] is not True for rule in rules))]
    if left := len(rules) - len(shown):
        about += f" {left:,} more rules, all passed, are in blessing.json."
    rows = table(HEAD, [_rule(rule) for rule in shown])
    return [about, f"On the test rows (train rows): {', '.join(values[:MOST])}.", rows]


def _choice(project: Project) -> str:
    """How the model was chosen, where params.yaml left that open."""
    card = project / MODEL / CARD
    choice = _read(card).get("choice", {})
    taken, scores = choice.get("taken"), choice.get("best") or {}
    if choice.get("asked") != "auto":
        return ""
    told = f" Model: {show(taken)}, chosen by {show(choice.get('by'))}"
    others = [name for name in scores if name != taken]
    if not others:
        return f"{told}."
    metric = show(choice.get("metric"))
    told += f" against {show(others[0])}: {metric} {number(scores[taken])} against "
    told += f"{number(scores[others[0]])}"
    return f"{told}; `model: {others[0]}` in params.yaml switches."


def _rule(rule: Facts) -> list[str]:
    asked = [SIGNS[key] + number(rule[key]) for key in SIGNS if is_number(rule.get(key))]
    bounds = [number(rule.get(side), "+") for side in ("low", "high")]
    other = number(rule.get("champion"))
    if rule.get("against") in ("linear", "dummy"):
        other += f" ({rule['against']})"
    values = [other, number(rule.get("candidate"))]
    values += [number(rule.get("difference"), "+"), "-" if "-" in bounds else " to ".join(bounds)]
    said = "pass" if rule["passed"] is True else "**closes**"
    return [show(rule["metric"]), show(rule["slice"]), ", ".join(asked) or "-", *values, said]


def _worst(rules: list[Facts], whole: Facts) -> list[Facts]:
    """The rules of slices with how far ``apart`` from all rows they are, the worst first."""
    whole = whole | {
        rule["metric"]: rule.get("candidate") for rule in rules if rule["slice"] == "all"
    }
    found = []
    for rule in rules:
        value: Any = rule.get("candidate")
        base: Any = whole.get(rule["metric"])
        of_rows = rule["slice"] != "all" and not is_number(rule.get("gap"))
        if of_rows and is_number(value) and is_number(base):
            better = getattr(METRICS.get(rule["metric"]), "direction", 1) * (value - base)
            found.append((better / (abs(base) or 1), rule | {"apart": value - base}))
    return [rule for _, rule in sorted(found, key=lambda entry: entry[0])]


def _slices(worst: list[Facts]) -> Blocks:
    rows = [[show(rule["slice"]), number(rule.get("rows")), show(rule["metric"])] for rule in worst]
    for row, rule in zip(rows, worst, strict=True):
        row += [number(rule.get("candidate")), number(rule["apart"], "+")]
    head = "Slice | Rows | Metric | Candidate | Against all rows"
    return [table(head, rows[:WORST])] if rows else []


def _data(facts: Facts) -> Blocks:
    now, before = facts["data_gate"]["rows"], facts["champion"].get("data_rows")
    then = f", {number(before)} when the champion was made" if is_number(before) else ""
    lines, rows = [f"{number(now)} rows in the dataset{then}"], []
    for finding in facts["findings"]:
        about = ABOUT_DATA.match(finding.check)
        if about and about[1] and finding.status != "pass":
            rows.append([show(finding.check), _fact(finding.threshold), _fact(finding.value)])
            rows[-1] += [show(finding.message, TEXT)]
        elif about and finding.status != "skipped" and (about[1] or finding.status != "pass"):
            lines.append(_said(finding))
    differences = [table("What | schema.yaml | Data | That is", rows[:MOST])] if rows else []
    return [bullets(lines), *differences]


def _fact(value: Any) -> str:
    return number(value) if is_number(value) else show(value)


def _importance(project: Project) -> Blocks:
    if not (project / IMPORTANCE).exists():
        return []
    found = read_json(project / IMPORTANCE)
    columns = list(found["columns"].items())[:WORST]
    labels, values = [name for name, _ in columns], [float(of["mean"]) for _, of in columns]
    if not values:
        return []
    about = f"Loss of {show(found['metric'])} when a column is shuffled, on {number(found['rows'])}"
    title, series = "Permutation importance", {"importance": values}
    chart = Chart(title, "column", str(found["metric"]), labels, series, True)
    return [f"{about} test rows, {number(found['repeats'])} times.", chart]


def _service(project: Project, judged: Facts) -> Blocks:
    lines: Blocks = []
    if found := _read(project / BUDGET):
        size, latency, speed = (number(found.get(key)) for key in FIGURES)
        lines.append(
            f"Model {size} MB; one row in {latency} ms (95th percentile); {speed} rows a second."
        )
    if serving := judged.get("serving"):
        name = {"onnx": "ONNX"}.get(serving.get("format"), "skops, with scikit-learn")
        lines.append(f"Served as {name}: {show(serving.get('reason'), TEXT)}.")
    trip = judged.get("round_trip") or {}
    if trip.get("ways"):
        differ = {str(one.get("way")) for one in trip.get("differ", [])}
        same = ", ".join(str(way) for way in trip["ways"] if way not in differ)
        other = f"; another by {', '.join(sorted(differ))}" if differ else ""
        rows, said = number(trip.get("rows")), show(f"{same or 'no way'}{other}", TEXT)
        lines.append(f"{rows} rows of the source get the same answer by {said}.")
    return lines


def _read(path: Path) -> Facts:
    """What a file holds that not each run leaves."""
    return read_json(path) if path.exists() else {}


def _checks(findings: list[Finding]) -> Blocks:
    # A status that is not known closes the gate, so it stands with those that do.
    found = [f for f in findings if f.status not in ("pass", "skipped")]
    found.sort(key=lambda finding: finding.status == "warn")
    rows = [[_status(f), show(f.check), show(f.message, TEXT), show(f.fix, TEXT)] for f in found]
    passed, warned = (sum(f.status == status for f in findings) for status in ("pass", "warn"))
    count = f"{passed:,} passed, {len(found) - warned:,} failed, {warned:,} warned."
    count += f" {len(rows) - MOST:,} of them stand only in reports/." if rows[MOST:] else ""
    shown = table("Status | Check | What | What to do", rows[:MOST])
    return [count, shown] if rows else [count]


def _plots(project: Project, worst: list[Facts]) -> Blocks:
    from .plots import predictions

    blocks: Blocks
    try:
        blocks = predictions(project, read_yaml(project / "schema.yaml"))
    except (LookupError, OSError, TypeError, ValueError) as error:
        blocks = [f"No plot of the predictions: {show(error, TEXT)}."]
    if worst:  # and the others of its column
        metric, (column, _, _) = worst[0]["metric"], worst[0]["slice"].rpartition(" = ")
        found = [(r, r["slice"].rpartition(" = ")) for r in worst if r["metric"] == metric]
        bars = {last: float(r["candidate"]) for r, (first, _, last) in found if first == column}
        labels, values = list(bars)[:BARS], {metric: list(bars.values())[:BARS]}
        blocks.append(Chart(f"{metric} by {column}", column, metric, labels, values, True))
    return blocks


def _reproduce(project: Project) -> Blocks:
    said = git(project, "--no-optional-locks", "status", "--porcelain=v2", "--branch") or ""
    commit = re.search(r"^# branch\.oid ([0-9a-f]{40,64})$", said, re.MULTILINE)
    checkout = f"git checkout {commit[1]} && " if commit else ""
    if commit and os.environ.get("GITHUB_EVENT_NAME") == "pull_request":
        checkout = f"git fetch origin {commit[1]} && {checkout}"  # a merge on no branch
    line = f"```sh\n{checkout}make setup && make pipeline gate\n```"
    # What dvc.lock says is made again.
    if changed := sum(
        not line.startswith("#") for line in said.splitlines() if line[-9:] != " dvc.lock"
    ):
        return [line, f"{changed:,} files differ from this commit: it alone gives another result."]
    return [line] if commit else ["No commit is known.", line]


def _not_run(project: Project, facts: Facts, judged: Facts) -> list[str]:
    lines = []
    if not judged:
        lines.append("training, evaluation, model checks and blessing: the data gate is closed")
    elif not facts["champion"].get("model_digest"):
        lines.append("comparison with a champion: there is none")
    for what, found in facts["checks"].items():
        seen, rows = found.rows_checked, found.rows
        if is_number(seen) and is_number(rows) and seen < rows:
            lines.append(
                f"Deepchecks on all rows ({what}): it saw {number(seen)} of {number(rows)}"
            )
        if missed := found.columns_not_checked:
            names = ", ".join(show(name) for name in missed[:WORST])
            more = f" and {len(missed) - WORST:,} more" if missed[WORST:] else ""
            lines.append(f"costly checks on some columns ({what}): {names}{more}")
    if judged and not _read(project / BUDGET):
        lines.append("service figures: test_budget did not measure them")
    for entry in judged.get("not_judged", []):
        rows, reason = number(entry.get("rows")), show(entry.get("reason"), TEXT)
        lines.append(f"slice {show(entry['slice'])} ({rows} rows): {reason}")
    lines += [_said(finding) for finding in facts["findings"] if finding.status == "skipped"]
    lines += [show(note, TEXT) for note in facts["notes"]]
    return lines or ["nothing: every check ran, on all rows and columns"]


def _said(finding: Finding) -> str:
    return f"{_status(finding)}: {show(finding.check)}: {show(finding.message, TEXT)}"


def _status(finding: Finding) -> str:
    known = finding.status in ("pass", "warn", "skipped")
    return finding.status if known else f"**{show(finding.status, 10)}**"
