"""Verb ``doctor``: what this repository still lacks, each with the command that mends it.

``lacking`` stops the pipeline, its gates or the next person who clones; ``advice`` can wait.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.core import environments, owned, shipped
from gatehouse.core.actions import unfit
from gatehouse.core.config import canvas
from gatehouse.core.config.gates import section as gates_section
from gatehouse.core.config.results import Champion, read_result
from gatehouse.core.config.rules import is_number, read_rules, value_text
from gatehouse.core.console import paint
from gatehouse.core.errors import CLOSED, GOOD, Stop
from gatehouse.core.files import read_section, read_yaml
from gatehouse.core.layout import CHAMPION
from gatehouse.core.project import Project
from gatehouse.vcs import data_branch as storage
from gatehouse.vcs import dvc
from gatehouse.vcs.git import git

SCHEMA, GATES, LOCK = Path("schema.yaml"), Path("gates.yaml"), Path("dvc.lock")
BEHAVIOUR = Path("tests/behaviour.yaml")
OWNERS = Path(owned.CODEOWNERS)
COLOURS = {"ok": "green", "advice": "yellow", "lacking": "red"}


class Line(NamedTuple):
    """What was looked at, how it stands (ok, advice, lacking), and what mends it."""

    what: str
    status: str
    fix: str = ""


Lines = Iterator[Line]


def doctor(project: Project, *, as_json: bool) -> int:
    """Print every line, what is lacking last; exit 1 when anything is lacking."""
    lines = list(dict.fromkeys(line for look in LOOKS for line in _lines(project, look)))
    lines.sort(key=lambda line: list(COLOURS).index(line.status))
    if as_json:
        text = json.dumps([line._asdict() for line in lines], indent=2, ensure_ascii=False)
    else:
        counts = [f"{sum(ln.status == status for ln in lines)} {status}" for status in COLOURS]
        text = "\n".join([*map(_text, lines), ", ".join(counts)])
    sys.stdout.write(text + "\n")
    return CLOSED if any(line.status == "lacking" for line in lines) else GOOD


def _lines(project: Project, look: Callable[[Project], Lines]) -> Lines:
    try:
        yield from look(project)
    except Stop as stop:  # a file that cannot be read is what is lacking
        what, _, fix = str(stop).rpartition(": ")
        yield Line(what, "lacking", fix)


def _text(line: Line) -> str:
    fix = f"\n          {line.fix}" if line.fix else ""
    return paint(f"{line.status:<8}", COLOURS[line.status]) + f"  {line.what}{fix}"


def each_environment(_: Project) -> Lines:
    """Each environment, against the lock it is made of."""
    for name, folder in environments.FOLDERS.items():
        if environments.ready(name):
            yield Line(f"{folder} is as its lock says", "ok")
        elif environments.python(name).exists():
            yield Line(f"{folder} is not as its lock says", "lacking", "make setup")
        else:
            yield Line(f"{folder} is not here", "lacking", "make setup")


def source(project: Project) -> Lines:
    """The source, and the pointer that git holds for it."""
    path = Path(str(read_section(project / "params.yaml", "ingest").get("source")))
    if not path.exists():
        yield Line(f"{path} is not here", "lacking", "gatehouse data")
    elif not path.with_name(f"{path.name}.dvc").exists():
        yield Line(f"{path} is not versioned by DVC", "lacking", f"dvc add {path}")
    else:
        yield Line(f"{path} is here", "ok")


def schema(project: Project) -> Lines:
    """schema.yaml is filled, and a person has read what it notes of columns."""
    columns = read_section(project / SCHEMA, "columns")
    if not columns:
        yield Line(f"{SCHEMA} describes no columns", "lacking", "gatehouse schema")
        return
    yield Line(f"{SCHEMA} describes {len(columns):,} columns", "ok")
    if notes := [f"{name} ({c['note']})" for name, c in columns.items() if _dict(c).get("note")]:
        more = f" and {len(notes) - 5:,} more" if notes[5:] else ""
        what = f"{SCHEMA} has a note on columns: {', '.join(notes[:5])}{more}"
        yield Line(what, "advice", "read it, correct the role if it is wrong, delete the note")


def gates(project: Project) -> Lines:
    """Both gates have rules that can be read; bootstrap is gone once there is a champion."""
    model, rows_min = (
        gates_section(project, "model"),
        gates_section(project, "data").get("rows_min"),
    )
    rules = read_rules(model.get("rules"), 1)
    faults = [f"{GATES}: {rule.metric}: {rule.fault}" for rule in rules if rule.fault]
    faults += [] if rules else [f"{GATES} has no model.rules"]
    faults += [] if is_number(rows_min) else [f"{GATES} has no data.rows_min"]
    for fault in faults:
        yield Line(fault, "lacking", f"correct it, or `git checkout {GATES}`")
    if not faults:
        yield Line(f"{GATES} has {len(rules):,} rules for the model", "ok")
    champion = project / CHAMPION
    if (
        model.get("bootstrap")
        and champion.exists()
        and read_result(champion, Champion, old=True).found
    ):
        what = "model.bootstrap still stands there although a champion was found"
        yield Line(f"{GATES}: {what}", "advice", "delete that line")


def fairness(project: Project) -> Lines:
    """Groups are declared, and a rule looks at the gap between them."""
    columns, said = (
        read_section(project / SCHEMA, "columns"),
        gates_section(project, "model").get("rules"),
    )
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


def boxes(project: Project) -> Lines:
    """The canvas can be read, its gains fit the classes, no box is empty."""
    empty = canvas.unfilled(project)
    canvas.cost_matrix(
        project, [value_text(value) for value in read_yaml(project / SCHEMA).get("classes") or []]
    )
    yield Line(f"{canvas.PATH} can be read, and fits the classes", "ok")
    for box in empty:
        yield Line(f"{canvas.PATH}: {box} is empty", "advice", f"write down {box}")


def behaviour(project: Project) -> Lines:
    """The model is held to at least one behaviour."""
    said = read_yaml(project / BEHAVIOUR) if (project / BEHAVIOUR).exists() else {}
    if any(said.values()):
        yield Line(f"{BEHAVIOUR} declares behaviour", "ok")
    else:
        yield Line(f"{BEHAVIOUR} declares none", "advice", "write down one that must never change")


def pipeline(project: Project) -> Lines:
    """The pipeline ran, on what lies here now."""
    from gatehouse.gates.verdict import stale_stages

    if not (project / LOCK).exists():
        yield Line("the pipeline never ran", "lacking", "make pipeline")
    elif stale := stale_stages(project):
        yield Line(f"the pipeline is out of date: {', '.join(stale)}", "lacking", "make pipeline")
    else:
        yield Line("the pipeline is up to date", "ok")


def repository(project: Project) -> Lines:
    """Git knows who commits and where to push, DVC where data go."""
    if git(project, "rev-parse", "--git-dir") is None:
        fix = "git init -b main && git add . && git commit -m 'First commit'"
        yield Line("this is no git repository", "lacking", fix)
        return
    for key, example in (("user.name", "Your Name"), ("user.email", "you@example.org")):
        if not git(project, "config", "--get", key):
            yield Line(f"git knows no {key}", "advice", f"git config {key} '{example}'")
    for line in (
        git(project, "status", "--porcelain", "--", str(LOCK), str(SCHEMA)) or ""
    ).splitlines():
        name = line[3:]
        yield Line(f"{name} is not committed", "advice", f"git add {name} && git commit")
    if not git(project, "remote"):
        yield Line("git has no remote", "advice", "git remote add origin URL && make push")
    elif storage.embedded(project):
        if git(project, "rev-parse", "--verify", "--quiet", storage.THERE):
            yield Line(f"data go to the branch {storage.BRANCH}", "ok")
        else:
            yield Line(f"nothing was pushed to the branch {storage.BRANCH}", "advice", "make push")
    elif remote := dvc.config(project).get("core", "remote", fallback=None):
        yield Line(f"DVC pushes to its remote {remote}", "ok")
        if names := ", ".join(path.name for path in unfit(project, dvc.address(project))):
            what = f"{names}: jobs may not ask the cloud of {remote} for a token, or need none"
            yield Line(what, "lacking", "gatehouse github oidc allow")
    else:
        fix = "dvc remote add --default storage URL && make push"
        yield Line("git has a remote and DVC none: nobody else gets the data", "lacking", fix)


def release(project: Project) -> Lines:
    """What the record says of the environments can be read, and is of commits of main."""
    from gatehouse.registry import record

    top = record.tip(project, fetch=False)
    for name in record.ENVIRONMENTS:
        if now := record.read(project, name, top):
            yield Line(f"{name} has model {record.short(now.model)}", "ok")
    if top and "github.com" in (git(project, "remote", "get-url", "origin") or ""):
        yield from writers(project, record.BRANCH)


def writers(project: Project, branch: str) -> Lines:
    """Who may write the record, where GitHub can be asked."""
    where = f"repos/{{owner}}/{{repo}}/rules/branches/{branch}"
    words = ["gh", "api", where, "--jq", ".[].type"]
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, timeout=10, cwd=project.root
        )
        if "update" in done.stdout.split():
            yield Line(f"workflows alone write the branch {branch}", "ok")
        elif done.returncode == 0:
            what = f"whoever may push can write the branch {branch}, and name any commit of main"
            yield Line(what, "advice", "give few the right to push; docs/github.md says what else")


def ejected(_: Project) -> Lines:
    """What a new version of the library no longer changes."""
    if own := [name for name in shipped.names() if Path(name).is_file()]:
        yield Line(f"in place of the library's: {', '.join(own)}", "ok")


def guards(project: Project) -> Lines:
    """Somebody must agree to a change of what judges, and commits are looked at for secrets."""
    text = (project / OWNERS).read_text(encoding="utf-8") if (project / OWNERS).exists() else ""
    said = git(project, "remote", "get-url", "origin") or ""
    status = "lacking" if said else "advice"  # alone on a laptop, nobody else can agree
    if not (released := owned.unguarded(text)):
        yield Line("somebody must agree to a change of what judges", "ok")
    elif len(released) == len(owned.WITNESSES):
        name = re.search(r"github\.com[:/]([A-Za-z0-9-]+)/", said)
        fix = f"sed -i.old 's|^#\\([^ ].*\\)@OWNER|\\1@{name[1] if name else 'NAME'}|' {OWNERS}"
        what = f"{OWNERS} names nobody: who is judged may change what judges"
        yield Line(what, status, f"{fix}, or write it: `* @NAME` first, then what is released")
    else:
        what = f"{OWNERS} leaves {', '.join(released[:5])} to everybody"
        yield Line(what, status, f"close {OWNERS}: `* @NAME` first, then what is released")
    if Path((git(project, "rev-parse", "--git-path", "hooks/pre-commit") or "").strip()).is_file():
        yield Line("commits are looked at before they are made", "ok")
    else:
        yield Line("nothing looks for secrets before a commit", "advice", "gatehouse hooks")


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


LOOKS: tuple[Callable[[Project], Lines], ...] = (
    each_environment,
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
    ejected,
)
