"""``gates.yaml`` itself: a change must not choose the thresholds that judge it.

Where CI names the base branch in BASE_REF, every threshold that the change loosens closes the
verdict, and verb ``thresholds`` puts that branch's file in place before the pipeline runs. What
cannot be ordered, from an unknown key to a file that is no YAML, is a loosening.
"""

import json
import os
import re
import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gatehouse.core.config.rules import Rule, is_number, read_rules
from gatehouse.core.console import say
from gatehouse.core.errors import GOOD, INFRASTRUCTURE, Stop
from gatehouse.core.files import write_text
from gatehouse.core.project import Project
from gatehouse.core.strict_yaml import load
from gatehouse.vcs.git import base_ref, git

GATES = Path("gates.yaml")
HIGHER = ("min", "gain", "rows_min", "share", "rare_below", "requests", "keys")  # is stricter
LOWER = (
    *("max", "margin", "gap", "max_loss", "timeout_minutes", "size_mb", "latency_ms"),
    *("startup_seconds", "memory_mb", "error_rate", "p99_ms", "changed", "by"),
)
FEWER = ("may_skip", "accept", "trusted_types", "bootstrap")
WIDTH = 200


def restore(project: Project) -> int:
    """Verb ``thresholds``: the base branch's ``gates.yaml`` into the work tree, if it is needed."""
    if not os.environ.get("BASE_REF"):
        raise Stop(
            "base-unset", "BASE_REF names no branch: set it, for instance BASE_REF=origin/main"
        )
    base, found = base_ref(project), loosened(project)
    for sentence in found:
        say(f"thresholds: looser than {base}: {sentence}")
    if found:
        write_text(project / GATES, _of(project, base) or "")
        say(f"thresholds: {GATES} is now that of {base}, which judges; the gate stays closed")
    else:
        say(f"thresholds: {GATES} is no looser than that of {base}, and judges")
    return GOOD


def loosened(project: Project) -> list[str]:
    """What this change, committed or not, loosens; nothing where the base branch has no file."""
    there = _of(project, base) if (base := base_ref(project)) else None
    if there is None:
        return []
    found = looser(there, git(project, "show", f"HEAD:./{GATES}") or "")
    try:
        found += looser(there, (project / GATES).read_text(encoding="utf-8", errors="replace"))
    except OSError:
        found.append("it is not there")
    # Somebody else's words reach a terminal and a log.
    plain = ("".join(c if c.isprintable() else "?" for c in said) for said in found)
    return list(dict.fromkeys(said[:WIDTH] for said in plain))


def looser(old: str, new: str) -> list[str]:
    """A sentence for each threshold that is not as strict in the text ``new`` as in ``old``."""
    if old == new:
        return []
    try:
        first = {"version": 1}  # what a file has that does not say it
        return list(_sections("", first | load(old), first | load(new)))
    except Exception:  # YAML can be made to raise anything, and nothing may pass by that
        return ["it cannot be compared: one of the two is empty, no YAML, or has a key twice"]


def _sections(path: str, old: dict[Any, Any], new: dict[Any, Any]) -> Iterator[str]:
    for key in old | new:
        was, now, at = old.get(key), new.get(key), f"{path}.{key}".lstrip(".")
        if at == "model.rules":
            yield from _rules(
                *(read_rules(m.get("rules"), m.get("rows_min", 0)) for m in (old, new))
            )
        elif key in FEWER:
            known = [*(was if isinstance(was, list) else [was]), None, False]
            asked = now if isinstance(now, list) else [now]
            yield from (f"{at}: {_said(one)} is new" for one in asked if one not in known)
        elif isinstance(was, dict) and isinstance(now, dict):
            yield from _sections(at, was, now)
        elif was is None and now is not None and path.endswith("_checks.checks"):
            continue  # a check more
        elif not _as_strict(key, was, now):
            change = "is gone" if now is None else f"{_said(was)} is now {_said(now)}"
            yield f"{path}: {key} {'is new' if was is None else change}".lstrip(": ")


def _as_strict(key: str, was: Any, now: Any) -> bool:
    if is_number(was) and is_number(now) and was != now:
        return key in (HIGHER if now > was else LOWER)
    return bool(was == now) or (key, was, now) == ("severity", "warn", "fail")


def _said(value: Any) -> str:
    return value if isinstance(value, str) else reprlib.repr(value)


def _rules(old: list[Rule], new: list[Rule]) -> Iterator[str]:
    for was in old:
        values = set(was.values or ())
        same = [
            now
            for now in new
            if (now.metric, now.column, now.against) == (was.metric, was.column, was.against)
            and (now.values == was.values or (values and values <= set(now.values or ())))
        ]
        best = min((_weaker(was, now) for now in same), key=len, default=["is gone"])
        where = f" on {was.column}" if was.column else ""
        where += f" = {', '.join(was.values)}" if was.values else ""
        yield from (f"model.rules: {was.metric}{where} {said}" for said in best)


def _weaker(was: Rule, now: Rule) -> list[str]:
    """What ``now`` asks less; a rule with a fault never passes."""
    if now.fault or was.fault:
        return [] if now.fault else ["could never pass and now can"]
    sides = [(side, bound, now.bounds.get(side)) for side, bound in was.bounds.items()]
    found = [side for side in sides if not _as_strict(*side)]
    # Of "each value of the column" those below rows_min are left out: more is not stricter there.
    listed = was.column is None or was.values
    if now.rows_min != was.rows_min and not (listed and now.rows_min > was.rows_min):
        found.append(("rows_min", was.rows_min, now.rows_min))
    return [f"{side} {a:g} is {'gone' if b is None else f'now {b:g}'}" for side, a, b in found]


def _of(project: Project, base: str) -> str | None:
    if git(project, "rev-parse", "--verify", "--quiet", base + "^{commit}") is None:
        raise Stop("base-unknown", f"git knows no {base}: run `git fetch origin`", INFRASTRUCTURE)
    return git(project, "show", f"{base}:./{GATES}")


def bootstrap(project: Project, reason: str) -> int:
    """Write ``model.bootstrap``, why there is no champion yet; comments stay."""
    if not reason.strip():
        raise Stop(
            "bootstrap-reason",
            "bootstrap wants the reason why there is no champion: say it in words",
        )
    line = f"  bootstrap: {json.dumps(' '.join(reason.split()), ensure_ascii=False)}\n"
    text = re.sub(r"(?m)^  bootstrap:.*\n", "", (project / GATES).read_text(encoding="utf-8"))
    text, found = re.subn(r"(?m)^model: *(#.*)?\n", lambda head: head[0] + line, text, count=1)
    if not found:
        raise Stop(
            "rules-damaged", f"{GATES} has no line `model:` to write below: restore it from git"
        )
    write_text(project / GATES, text)
    say(f"bootstrap: {GATES} says why there is none; commit it, then `make pipeline`")
    return GOOD
