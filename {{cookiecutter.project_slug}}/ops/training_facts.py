"""What a decision to train depends on: sources, models, passes; verb ``training``."""

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from . import storage, training
from .canvas import load
from .champion import outs
from .console import GOOD, INFRASTRUCTURE, Stop, say, write_text
from .git import base_ref, git, have
from .monitor import history
from .monitor.clock import now
from .release import record
from .training import Facts, Trained

LOCK = "dvc.lock"
WIDTH = 300


def update() -> list[str]:
    """Bring imported sources up to date; the ``*.dvc`` files that changed by it.

    Raises Stop (3) where a source cannot be asked.
    """
    changed = []
    for path, text in _pointers().items():
        if not (before := _deps(text)):
            continue  # nobody imported it: it changes by a push
        ask = partial(_dvc, "update", "--no-download", path)
        storage.patiently("training", ask)
        there = _deps(Path(path).read_text(encoding="utf-8"))
        write_text(Path(path), text)  # without a download, DVC forgets what it had recorded
        if there != before:
            storage.patiently("training", partial(_dvc, "update", path))
            changed.append(path)
            say(f"training: {path} has changed where it was imported from")
    return changed


def gather() -> Facts:
    """The facts as of now (AS_OF says another moment)."""
    moment, days = now(), load().building_models.retrain_days
    tracked = training.tracked(_pointers())
    base = git("rev-parse", base_ref() or "HEAD") or ""
    main = _trained(base.strip(), tracked, moment, days)
    released = record.read("production", record.tip())
    if released:
        have(released.commit)
    champion = _trained(released.commit, tracked, moment, days) if released else main
    champion = replace(champion, model=released.model) if released else champion
    data = {path: md5 for path, md5 in tracked.items() if path in main.data} or tracked
    serves = released.model if released else ""
    return Facts(moment, data, champion, main, history.passes(), serves, days)


def sources_known(commit: str) -> bool:
    """Whether the sources here are those that the ``dvc.lock`` of a commit was made from."""
    tracked = training.tracked(_pointers())
    there = training.used(git("show", f"{commit}:./{LOCK}") or "", tracked)
    same = there == {path: md5 for path, md5 in tracked.items() if path in there}
    return same and bool(there or not tracked)


def _trained(commit: str, tracked: dict[str, str], moment: datetime, days: int | None) -> Trained:
    """What the ``dvc.lock`` of a commit says of its model."""
    text = git("show", f"{commit}:./{LOCK}") or ""
    model = outs(text).get("model", "")
    when = None
    if model and days:
        if (git("rev-parse", "--is-shallow-repository") or "").strip() == "true":
            since = (moment - timedelta(days=days + 1)).strftime("%Y-%m-%d")
            git("fetch", "--quiet", "--no-tags", f"--shallow-since={since}", "origin", commit)
        # The commit that brought this digest, however many changed other lines since.
        words = ("log", "-1", "--format=%cI", f"-S{model}", commit, "--", LOCK)
        said = (git(*words) or "").strip()
        when = history.moment(said) if said else None
    return Trained(model, training.used(text, tracked), when)


def _deps(text: str) -> Any:
    """Where a ``*.dvc`` file was imported from, with digest or time there; None where nowhere."""
    try:
        return (yaml.safe_load(text) or {}).get("deps")
    except (yaml.YAMLError, AttributeError):
        return None  # that it is damaged is said where its digest is asked for


def _pointers() -> dict[str, str]:
    """Path -> text of the ``*.dvc`` files that git knows."""
    listed = git("ls-files", "-z", "--", "*.dvc") or ""
    paths = [path for path in listed.split("\0") if path and Path(path).is_file()]
    return {path: Path(path).read_text(encoding="utf-8", errors="replace") for path in paths}


def _dvc(*words: str) -> None:
    command = [sys.executable, "-m", "dvc", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1][:WIDTH]
        raise Stop(f"`dvc {words[0]} {words[-1]}` failed ({last})", INFRASTRUCTURE)


# --- the verb -----------------------------------------------------------------------------------


def verb(options: argparse.Namespace) -> int:
    """One action of the verb."""
    match options.action:
        case "update":
            sys.stdout.write("".join(f"{path}\n" for path in update()))
        case "decide":
            asked = tuple(options.triggers)
            made = decide(asked, options.reason, force=options.force, write=options.record)
            line = made.line() if made else {"state": "nothing to do"}
            sys.stdout.write(f"{json.dumps(line)}\n" if options.json else f"{told(line)}\n")
        case "record":
            end(options.key, options.state, options.why)
        case _:
            lines = history.decisions()[::-1]
            if options.json:
                sys.stdout.write(f"{json.dumps(lines)}\n")
            else:
                sys.stdout.write("".join(f"{told(line)}\n" for line in lines))
    return GOOD


def decide(
    triggers: tuple[str, ...], reason: str, *, force: bool, write: bool
) -> training.Decision | None:
    """Decide on the facts of now; with ``write`` it is recorded, unless there is nothing to do."""
    facts, settings = gather(), training.read_settings()
    made: list[training.Decision | None] = [None]

    def choose(before: list[history.Line]) -> history.Line | None:
        made[0] = one = training.decide(
            triggers, facts, settings, before, reason=reason, force=force
        )
        known = one is None or one.state == "known"
        return None if known or not one else one.line() | {"run": history.run_link()}

    if write:
        history.decide(choose)
    else:
        choose(history.decisions(fetch=False))
    return made[0]


def end(key: str, state: str, why: str) -> None:
    """How a training ended, beside what started it."""
    history.add_decision({"key": key, "state": state, "ended_as": why[:WIDTH]})


def told(line: history.Line) -> str:
    """A decision in one line."""
    words = [str(line.get(name) or "") for name in ("when", "state", "trigger", "key")]
    words[0], words[3] = words[0][:16], words[3][:12]
    words.append(str(line.get("ended_as") or line.get("why") or ""))
    return "  ".join(filter(None, words))
