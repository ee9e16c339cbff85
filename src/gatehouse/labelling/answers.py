"""Answers of people: which rows they were asked about, and labels made of what they said."""

import csv
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from gatehouse.core.config.rules import is_number, value_text
from gatehouse.core.errors import Stop
from gatehouse.core.places import Folder
from gatehouse.core.project import Project
from gatehouse.monitoring import clock
from gatehouse.vcs.git import git

ANSWER = "answer"
LARGEST, MOST_ROWS, NAMED = 10_000_000, 100_000, 5
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run


def safe(text: str) -> str:
    """``text`` as a spreadsheet shows it; a quote goes before what it would run."""
    return f"'{text}" if text.startswith(FORMULA) and not _number(text) else text


def _number(text: str) -> bool:
    try:
        return is_number(float(text))
    except ValueError:
        return False


def asked_before(labels: Folder) -> set[str]:
    """The ids of all rows that any export listed."""
    found: set[str] = set()
    for name in labels.names("asked/*.json"):
        try:
            listed = json.loads(labels.read(name, LARGEST))
        except ValueError:
            raise Stop("labels-damaged", f"{labels.url}/{name} is damaged: remove it") from None
        found.update(str(one) for one in listed if isinstance(listed, list))
    return found


def remember(labels: Folder, ids: list[str], now: datetime) -> None:
    """Keep which rows were asked now."""
    if ids:
        name = f"asked/{now:%Y%m%dT%H%M%S}-{_digest(ids)}.json"
        _put(labels, name, json.dumps(ids, ensure_ascii=False) + "\n")


def _digest(parts: list[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _put(labels: Folder, name: str, text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder, "draft")
        draft.write_text(text, encoding="utf-8")
        labels.put(draft, name)


def take(
    project: Project, file: Path, labels: Folder, schema: dict[str, Any], now: datetime
) -> dict[str, Any]:
    """Make labels of the answers in ``file``; the same answers make no second file.

    Rows without an answer, of an id that was never asked, or said twice are counted and left out.
    Raises ``Stop`` for an answer that the target cannot have, or two that contradict each other.
    """
    rows, asked = _read(file), asked_before(labels)
    known = {form.strip(): name for name in asked for form in (safe(name), name)}
    found: dict[str, str] = {}
    counts = {"answers": 0, "empty": 0, "unknown": 0, "twice": 0}
    wrong, torn = [], []
    for line, name, said in rows:
        if not said:
            counts["empty"] += 1
        elif name not in known:
            counts["unknown"] += 1
        elif (answer := _answer(said, schema)) is None:
            wrong.append(line)
        elif known[name] not in found:
            found[known[name]] = answer
        elif found[known[name]] == answer:
            counts["twice"] += 1
        else:
            torn.append(line)
    if wrong:
        raise Stop(
            "answer-wrong",
            f"{file}: {_lines(wrong)} has an answer that is no {_wanted(schema)}: mend it",
        )
    if torn:
        raise Stop(
            "answer-twice",
            f"{file}: {_lines(torn)} answers a row otherwise than before: decide on one",
        )
    counts["answers"] = len(found)
    if not found:
        return counts | {"file": None}
    digest = _digest([f"{name} {found[name]}" for name in sorted(found)])
    if there := labels.names(f"review-*-{digest}.csv"):
        return counts | {"file": there[0], "new": False}
    name = f"review-{now:%Y-%m-%d}-{digest}.csv"
    _put(labels, name, _label_file(project, found, schema["target"], now))
    return counts | {"file": name, "new": True}


def _read(file: Path) -> list[tuple[int, str, str]]:
    """(line, id, answer) of each row; spreadsheets save with semicolons or tabs, too."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise Stop(
            "review-unreadable", f"{file} cannot be read ({error.strerror}): name the review file"
        ) from None
    if len(content) > LARGEST:
        raise Stop("too-large", f"{file} is larger than {LARGEST:,} bytes: is it the review file?")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Stop("not-utf8", f"{file} is not UTF-8 text: save it as CSV UTF-8") from None
    head = text.partition("\n")[0]
    mark = max(",;\t", key=head.count)
    try:
        reader = csv.DictReader(io.StringIO(text), delimiter=mark)
        if not {"id", ANSWER} <= set(reader.fieldnames or []):
            raise Stop(
                "review-columns", f"{file} has no columns id and {ANSWER}: name the review file"
            )
        rows = [
            (reader.line_num, (row["id"] or "").strip(), (row[ANSWER] or "").strip())
            for row in reader
        ]
    except csv.Error:
        raise Stop("review-unreadable", f"{file} is no CSV file: save it as CSV UTF-8") from None
    if len(rows) > MOST_ROWS:
        raise Stop("too-large", f"{file} has more than {MOST_ROWS:,} rows: is it the review file?")
    return rows


def _answer(said: str, schema: dict[str, Any]) -> str | None:
    """An answer as labels have it; None for what the target cannot be."""
    classes = [value_text(value) for value in schema.get("classes") or []]
    if classes:
        if said in classes:
            return said
        # A spreadsheet writes TRUE.
        alike = [one for one in classes if one.casefold() == said.casefold()]
        return alike[0] if len(alike) == 1 else None
    column = schema["columns"][schema["target"]]
    if not _number(said):
        return None
    value = float(said)
    low, high = column.get("min"), column.get("max")
    if (low is not None and value < low) or (high is not None and value > high):
        return None
    if column["type"] == "integer" and not value.is_integer():
        return None
    return value_text(value)


def _wanted(schema: dict[str, Any]) -> str:
    if classes := schema.get("classes"):
        shown = ", ".join(value_text(value) for value in classes[:NAMED])
        return f"class of schema.yaml ({shown}{', …' if len(classes) > NAMED else ''})"
    column = schema["columns"][schema["target"]]
    return f"{column['type']} from {column.get('min')} to {column.get('max')}"


def _lines(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:NAMED]))
    more = " and others" if len(numbers) > NAMED else ""
    return f"line{'s' * (len(numbers) > 1)} {shown}{more}"


def _label_file(project: Project, found: dict[str, str], target: str, now: datetime) -> str:
    who, moment = _who(project), clock.text(now)
    rows = [[name, found[name], who, moment] for name in sorted(found)]
    return csv_text([["id", target, "answered_by", "time"], *rows])


def csv_text(rows: Iterable[Iterable[str]]) -> str:
    """Rows as CSV; lines end with CRLF, so that a lone CR is quoted."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _who(project: Project) -> str:
    who = os.environ.get("GITHUB_ACTOR") or (git(project, "config", "user.name") or "").strip()
    return safe(" ".join(who.split())[:100])


def status(labels: Folder) -> dict[str, Any]:
    """How many rows were asked, have an answer, and wait for one."""
    asked, answered = asked_before(labels), set()
    files = labels.names("review-*.csv")
    for name in files:
        text = labels.read(name, LARGEST).decode("utf-8", "replace")
        answered |= {row.get("id") for row in csv.DictReader(io.StringIO(text))}
    done = len(asked & answered)
    return {"asked": len(asked), "answered": done, "waiting": len(asked) - done, "files": files}
