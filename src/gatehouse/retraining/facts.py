"""What a decision to train depends on: sources, models, passes; ``gatehouse training``."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import yaml

from gatehouse.core.config.canvas import load
from gatehouse.core.console import say
from gatehouse.core.errors import GOOD, INFRASTRUCTURE, Stop
from gatehouse.core.files import write_text
from gatehouse.core.project import Project
from gatehouse.monitoring import history
from gatehouse.monitoring.clock import now
from gatehouse.registry import record
from gatehouse.vcs.dvc import outs, tracked, used
from gatehouse.vcs.git import base_ref, git, have, patiently

from . import policy
from .policy import Decision, Facts, Trained

LOCK = "dvc.lock"
WIDTH = 300
State = Literal["blessed", "not-blessed", "quarantined", "nothing", "failed"]


def update(project: Project) -> list[str]:
    """Bring imported sources up to date; the ``*.dvc`` files that changed by it.

    Raises Stop (3) where a source cannot be asked.
    """
    changed = []
    for path, text in _pointers(project).items():
        if not (before := _deps(text)):
            continue  # nobody imported it: it changes by a push
        ask = partial(_dvc, project, "update", "--no-download", path)
        patiently("training", ask)
        there = _deps((project / path).read_text(encoding="utf-8"))
        write_text(project / path, text)  # without a download, DVC forgets what it had recorded
        if there != before:
            patiently("training", partial(_dvc, project, "update", path))
            changed.append(path)
            say(f"training: {path} has changed where it was imported from")
    return changed


def gather(project: Project) -> Facts:
    """The facts as of now (AS_OF says another moment)."""
    moment, days = now(), load(project).building_models.retrain_days
    sources = tracked(_pointers(project))
    base = git(project, "rev-parse", base_ref(project) or "HEAD") or ""
    main = _trained(project, base.strip(), sources, moment, days)
    released = record.read(project, "production", record.tip(project))
    if released:
        have(project, released.commit)
    champion = _trained(project, released.commit, sources, moment, days) if released else main
    champion = replace(champion, model=released.model) if released else champion
    data = {path: md5 for path, md5 in sources.items() if path in main.data} or sources
    serves = released.model if released else ""
    return Facts(moment, data, champion, main, history.passes(project), serves, days)


def sources_known(project: Project, commit: str) -> bool:
    """Whether the sources here are those that the ``dvc.lock`` of a commit was made from."""
    sources = tracked(_pointers(project))
    there = used(git(project, "show", f"{commit}:./{LOCK}") or "", sources)
    same = there == {path: md5 for path, md5 in sources.items() if path in there}
    return same and bool(there or not sources)


def _trained(
    project: Project, commit: str, sources: dict[str, str], moment: datetime, days: int | None
) -> Trained:
    """What the ``dvc.lock`` of a commit says of its model."""
    text = git(project, "show", f"{commit}:./{LOCK}") or ""
    model = outs(text).get("model", "")
    when = None
    if model and days:
        if (git(project, "rev-parse", "--is-shallow-repository") or "").strip() == "true":
            since = (moment - timedelta(days=days + 1)).strftime("%Y-%m-%d")
            options = ("--quiet", "--no-tags", f"--shallow-since={since}")
            git(project, "fetch", *options, "origin", commit)
        # The commit that brought this digest, however many changed other lines since.
        words = ("log", "-1", "--format=%cI", f"-S{model}", commit, "--", LOCK)
        said = (git(project, *words) or "").strip()
        when = history.moment(said) if said else None
    return Trained(model, used(text, sources), when)


def _deps(text: str) -> Any:
    """Where a ``*.dvc`` file was imported from, with digest or time there; None where nowhere."""
    try:
        return (yaml.safe_load(text) or {}).get("deps")
    except (yaml.YAMLError, AttributeError):
        return None  # that it is damaged is said where its digest is asked for


def _pointers(project: Project) -> dict[str, str]:
    """Path -> text of the ``*.dvc`` files that git knows."""
    listed = git(project, "ls-files", "-z", "--", "*.dvc") or ""
    paths = [path for path in listed.split("\0") if path and Path(path).is_file()]
    return {path: Path(path).read_text(encoding="utf-8", errors="replace") for path in paths}


def _dvc(project: Project, *words: str) -> None:
    command = [sys.executable, "-P", "-m", "dvc", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=project.root)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1][:WIDTH]
        raise Stop("dvc-failed", f"`dvc {words[0]} {words[-1]}` failed ({last})", INFRASTRUCTURE)


# --- the verb -----------------------------------------------------------------------------------


def refresh(project: Project) -> int:
    """``gatehouse training update``: a line for each source that has changed."""
    sys.stdout.write("".join(f"{path}\n" for path in update(project)))
    return GOOD


def consider(
    project: Project,
    triggers: tuple[str, ...],
    reason: str = "",
    *,
    force: bool = False,
    write: bool = False,
    as_json: bool = False,
) -> int:
    """``gatehouse training decide``: say whether to train now; with ``write`` it is recorded."""
    made = decide(project, triggers, reason, force=force, write=write)
    line = made.line() if made else {"state": "nothing to do"}
    sys.stdout.write(f"{json.dumps(line)}\n" if as_json else f"{told(line)}\n")
    return GOOD


def listed(project: Project, *, as_json: bool = False) -> int:
    """``gatehouse training list``: every decision, the newest first."""
    lines = history.decisions(project)[::-1]
    text = f"{json.dumps(lines)}\n" if as_json else "".join(f"{told(line)}\n" for line in lines)
    sys.stdout.write(text)
    return GOOD


def decide(
    project: Project, triggers: tuple[str, ...], reason: str, *, force: bool, write: bool
) -> Decision | None:
    """Decide on the facts of now; with ``write`` it is recorded, unless there is nothing to do."""
    facts, settings = gather(project), policy.read_settings(project)
    made: list[Decision | None] = [None]

    def choose(before: list[history.Line]) -> history.Line | None:
        made[0] = one = policy.decide(triggers, facts, settings, before, reason=reason, force=force)
        known = one is None or one.state == "known"
        return None if known or not one else one.line() | {"run": history.run_link()}

    if write:
        history.decide(project, choose)
    else:
        choose(history.decisions(project, fetch=False))
    return made[0]


def end(project: Project, key: str, state: State, why: str = "") -> int:
    """``gatehouse training record``: how a training ended, beside what started it."""
    history.add_decision(project, {"key": key, "state": state, "ended_as": why[:WIDTH]})
    return GOOD


def told(line: history.Line) -> str:
    """A decision in one line."""
    words = [str(line.get(name) or "") for name in ("when", "state", "trigger", "key")]
    words[0], words[3] = words[0][:16], words[3][:12]
    words.append(str(line.get("ended_as") or line.get("why") or ""))
    return "  ".join(filter(None, words))
