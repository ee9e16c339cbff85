"""Verb ``doctor``: what this repository still lacks, each with the command that mends it.

``lacking`` stops the pipeline, its gates or the next person who clones; ``advice`` can wait.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from . import canvas, storage
from .console import CLOSED, GOOD, Stop, paint, read_json, read_section, read_yaml
from .gates.rules import is_number, read_rules, value_text
from .git import commit, git

ENVIRONMENTS = {  # made of these, as the Makefile has it
    ".venv": [
        "requirements/train.txt",
        "requirements/remote.txt",
        "pyproject.toml",
        ".python-version",
    ],
    ".venv-serve": ["requirements/serve.txt", ".python-version"],
    ".venv-checks": ["requirements/checks.txt"],
}
SCHEMA, GATES, LOCK = Path("schema.yaml"), Path("gates.yaml"), Path("dvc.lock")
BEHAVIOUR = Path("tests/model/behaviour.yaml")
OWNERS = Path(".github/CODEOWNERS")
COLOURS = {"ok": "green", "advice": "yellow", "lacking": "red"}


class Line(NamedTuple):
    """What was looked at, how it stands (ok, advice, lacking), and what mends it."""

    what: str
    status: str
    fix: str = ""


Lines = Iterator[Line]


def doctor(*, as_json: bool) -> int:
    """Print every line, what is lacking last; exit 1 when anything is lacking."""
    lines = list(dict.fromkeys(line for look in LOOKS for line in _lines(look)))
    lines.sort(key=lambda line: list(COLOURS).index(line.status))
    if as_json:
        text = json.dumps([line._asdict() for line in lines], indent=2, ensure_ascii=False)
    else:
        counts = [f"{sum(ln.status == status for ln in lines)} {status}" for status in COLOURS]
        text = "\n".join([*map(_text, lines), ", ".join(counts)])
    sys.stdout.write(text + "\n")
    return CLOSED if any(line.status == "lacking" for line in lines) else GOOD


def _lines(look: Callable[[], Lines]) -> Lines:
    try:
        yield from look()
    except Stop as stop:  # a file that cannot be read is what is lacking
        what, _, fix = str(stop).rpartition(": ")
        yield Line(what, "lacking", fix)


def _text(line: Line) -> str:
    fix = f"\n          {line.fix}" if line.fix else ""
    return paint(f"{line.status:<8}", COLOURS[line.status]) + f"  {line.what}{fix}"


def environments() -> Lines:
    """Each environment, against the files it is made of."""
    for name, sources in ENVIRONMENTS.items():
        made = _changed(Path(name, ".ready"))
        if not made:
            yield Line(f"{name} is not here, or was not finished", "lacking", "make setup")
        elif newer := [path for path in sources if _changed(Path(path)) > made]:
            yield Line(f"{name} is older than {newer[0]}", "lacking", "make setup")
        else:
            yield Line(f"{name} is as its lock says", "ok")


def source() -> Lines:
    """The source, and the pointer that git holds for it."""
    path = Path(str(read_section(Path("params.yaml"), "ingest").get("source")))
    if not path.exists():
        yield Line(f"{path} is not here", "lacking", "make data")
    elif not path.with_name(f"{path.name}.dvc").exists():
        yield Line(f"{path} is not versioned by DVC", "lacking", f"dvc add {path}")
    else:
        yield Line(f"{path} is here", "ok")


def schema() -> Lines:
    """schema.yaml is filled, and a person has read what it notes of columns."""
    columns = read_section(SCHEMA, "columns")
    if not columns:
        yield Line(f"{SCHEMA} describes no columns", "lacking", "make schema")
        return
    yield Line(f"{SCHEMA} describes {len(columns):,} columns", "ok")
    if notes := [f"{name} ({c['note']})" for name, c in columns.items() if _dict(c).get("note")]:
        more = f" and {len(notes) - 5:,} more" if notes[5:] else ""
        what = f"{SCHEMA} has a note on columns: {', '.join(notes[:5])}{more}"
        yield Line(what, "advice", "read it, correct the role if it is wrong, delete the note")


def gates() -> Lines:
    """Both gates have rules that can be read; bootstrap is gone once there is a champion."""
    model, rows_min = read_section(GATES, "model"), read_section(GATES, "data").get("rows_min")
    rules = read_rules(model.get("rules"), 1)
    faults = [f"{GATES}: {rule.metric}: {rule.fault}" for rule in rules if rule.fault]
    faults += [] if rules else [f"{GATES} has no model.rules"]
    faults += [] if is_number(rows_min) else [f"{GATES} has no data.rows_min"]
    for fault in faults:
        yield Line(fault, "lacking", f"correct it, or `git checkout {GATES}`")
    if not faults:
        yield Line(f"{GATES} has {len(rules):,} rules for the model", "ok")
    champion = Path("champion/champion.json")
    if model.get("bootstrap") and champion.exists() and read_json(champion).get("found") is True:
        what = "model.bootstrap still stands there although a champion was found"
        yield Line(f"{GATES}: {what}", "advice", "delete that line")


def fairness() -> Lines:
    """Groups are declared, and a rule looks at the gap between them."""
    columns, said = read_section(SCHEMA, "columns"), read_section(GATES, "model").get("rules")
    declared = {name for name, c in columns.items() if _dict(c).get("sensitive") is True}
    rules = [_dict(rule) for rule in said] if isinstance(said, list) else []
    gaps = {str(rule.get("slice")) for rule in rules if rule.get("gap") is not None}
    if not declared and not gaps - {"sensitive"}:
        fix = f"set `sensitive: true` for its column in {SCHEMA}"
        yield Line("no group is declared that the model must treat alike", "advice", fix)
    elif declared and not gaps & {"sensitive", *declared}:
        fix = "add {metric: skill, slice: sensitive, gap: 0.2} to model.rules of gates.yaml"
        yield Line("no rule looks at the gap between sensitive groups", "advice", fix)
    else:
        yield Line("a rule looks at the gap between groups", "ok")


def boxes() -> Lines:
    """The canvas can be read, its gains fit the classes, no box is empty."""
    empty = canvas.unfilled()
    canvas.cost_matrix([value_text(value) for value in read_yaml(SCHEMA).get("classes") or []])
    yield Line(f"{canvas.PATH} can be read, and fits the classes", "ok")
    for box in empty:
        yield Line(f"{canvas.PATH}: {box} is empty", "advice", f"write down {box}")


def behaviour() -> Lines:
    """The model is held to at least one behaviour."""
    said = read_yaml(BEHAVIOUR) if BEHAVIOUR.exists() else {}
    if any(said.values()):
        yield Line(f"{BEHAVIOUR} declares behaviour", "ok")
    else:
        yield Line(f"{BEHAVIOUR} declares none", "advice", "write down one that must never change")


def pipeline() -> Lines:
    """The pipeline ran, on what lies here now."""
    from .gates.verdict import stale_stages

    if not LOCK.exists():
        yield Line("the pipeline never ran", "lacking", "make pipeline")
    elif stale := stale_stages():
        yield Line(f"the pipeline is out of date: {', '.join(stale)}", "lacking", "make pipeline")
    else:
        yield Line("the pipeline is up to date", "ok")


def repository() -> Lines:
    """Git knows who commits and where to push, DVC where data go."""
    if git("rev-parse", "--git-dir") is None:
        fix = "git init -b main && git add . && git commit -m 'First commit'"
        yield Line("this is no git repository", "lacking", fix)
        return
    for key, example in (("user.name", "Your Name"), ("user.email", "you@example.org")):
        if not git("config", "--get", key):
            yield Line(f"git knows no {key}", "advice", f"git config {key} '{example}'")
    for line in (git("status", "--porcelain", "--", str(LOCK), str(SCHEMA)) or "").splitlines():
        name = line[3:]
        yield Line(f"{name} is not committed", "advice", f"git add {name} && git commit")
    if not git("remote"):
        yield Line("git has no remote", "advice", "git remote add origin URL && make push")
    elif storage.embedded():
        if git("rev-parse", "--verify", "--quiet", storage.THERE):
            yield Line(f"data go to the branch {storage.BRANCH}", "ok")
        else:
            yield Line(f"nothing was pushed to the branch {storage.BRANCH}", "advice", "make push")
    elif remote := storage.config().get("core", "remote", fallback=None):
        yield Line(f"DVC pushes to its remote {remote}", "ok")
    else:
        fix = "dvc remote add --default storage URL && make push"
        yield Line("git has a remote and DVC none: nobody else gets the data", "lacking", fix)


def release() -> Lines:
    """What the record says of production can be read, and its commit is here to compare with."""
    from .release import record

    if now := record.read("production", record.tip(fetch=False)):
        if commit(f"{now.commit}^0"):
            yield Line(f"production has model {record.short(now.model)}", "ok")
        else:
            what = f"git has no commit {now.commit[:9]}, of the model in production"
            yield Line(what, "lacking", "git fetch --unshallow || git fetch --all")


def guards() -> Lines:
    """Somebody must agree to changes of the gates, and commits are looked at for secrets."""
    text = OWNERS.read_text(encoding="utf-8") if OWNERS.exists() else ""
    if re.search(r"^/?gates\.yaml\s+\S*@", text, re.MULTILINE):
        yield Line("somebody must agree to changes of the gates", "ok")
    else:
        yield Line(f"{OWNERS} names nobody for {GATES}", "advice", f"fill in {OWNERS}")
    if Path((git("rev-parse", "--git-path", "hooks/pre-commit") or "").strip()).is_file():
        yield Line("commits are looked at before they are made", "ok")
    else:
        yield Line("nothing looks for secrets before a commit", "advice", "make hooks")


def _changed(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


LOOKS = (
    environments,
    source,
    schema,
    gates,
    fairness,
    boxes,
    behaviour,
    pipeline,
    repository,
    release,
    guards,
)
