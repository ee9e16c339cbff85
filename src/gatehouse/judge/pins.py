"""A change of the pin: two judges speak of one candidate, and the new one says what it changes.

The library that a change brings is code of the change: it has judged in the candidate's run, which
hands its blessing over as data, and its wheel is read as a file. Nothing of it is run here.
"""

import hashlib
import io
import shutil
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import Any

from gatehouse.core.environments import LIBRARY, LOCKS, VENDOR, blocks
from gatehouse.core.errors import Stop
from gatehouse.core.files import read_json
from gatehouse.core.layout import BLESSING
from gatehouse.core.project import Project
from gatehouse.vcs.git import git

from . import change

LIST = "files/gates.txt"  # of the library: a line for each change of what closes a gate
WHEEL, TEXT = 20 << 20, 1 << 20  # bytes of a wheel, and of a text, that are read
MOST, WIDTH = 10, 300  # lines told, and characters of each


def hand_over(project: Project, folder: Path) -> None:
    """The candidate's part: the blessing by the library that the change brings."""
    shutil.copyfile(project / BLESSING, folder / BLESSING.name)


def told(project: Project, tree: str, handed: Path) -> list[str]:
    """Both verdicts, where they differ, and what changes in the gates; a line for each.

    ``tree`` is what the change would make of the base, ``handed`` the folder that its run left.
    """
    ours = _verdict(project / BLESSING)
    theirs = _verdict(handed / BLESSING.name)
    first = f"judged by the base's pin: {_words(ours)}; by the change's, in its own run: "
    return [first + _words(theirs), *_apart(ours, theirs), *_changes(project, tree)]


def _verdict(path: Path) -> dict[str, Any]:
    """A blessing as it is written: that of another library may have another form."""
    try:
        if path.is_symlink() or path.stat().st_size > TEXT:
            return {}
        return read_json(path)
    except (OSError, Stop):
        return {}


def _words(verdict: dict[str, Any]) -> str:
    if not verdict:
        return "no verdict"
    reasons = verdict.get("reasons")
    more = f": {reasons[0]}" if isinstance(reasons, list) and reasons else ""
    return "blessed" if verdict.get("blessed") is True else f"not blessed{more}"[:WIDTH]


def _rules(verdict: dict[str, Any]) -> dict[str, str]:
    """A word for each rule of a blessing, by what it is about."""
    found, rules = {}, verdict.get("rules")
    for rule in rules if isinstance(rules, list) else ():
        if isinstance(rule, dict):
            value = rule.get("candidate")
            shown = f"{value:.6g}" if isinstance(value, int | float) else "nothing"
            state = "open" if rule.get("passed") is True else "closed"
            found[f"{rule.get('metric')} on {rule.get('slice')}"[:WIDTH]] = f"{state} at {shown}"
    return found


def _apart(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    here, there = _rules(ours), _rules(theirs)
    names = [name for name in here | there if here.get(name) != there.get(name)]
    if not theirs:
        return []
    return [
        f"{name}: {here.get(name, 'no rule')} by the base's pin, "
        f"{there.get(name, 'no rule')} by the change's"
        for name in names[:MOST]
    ]


def _changes(project: Project, tree: str) -> list[str]:
    """What the wheel of the change says that it changes in the gates."""
    wheel = _wheel(project, tree)
    if wheel is None:
        where = f"{VENDOR}/ holds no wheel with the digest of {LOCKS}/"
        return [f"what it changes in the gates cannot be said here: {where}"]
    try:
        archive = zipfile.ZipFile(io.BytesIO(wheel))
        with archive.open(f"gatehouse/{LIST}") as file:
            text = file.read(TEXT).decode("utf-8", "replace")
    except Exception:  # what is wrong with an archive can raise anything
        return [f"its wheel holds no {LIST} that can be read"]
    known = (files("gatehouse") / LIST).read_text("utf-8").splitlines()
    new = [line for line in text.splitlines() if line.strip() and line not in known]
    more = [f"{len(new) - MOST:,} changes of gates more"] if new[MOST:] else []
    said = [f"changes a gate, {line[:WIDTH]}" for line in new[:MOST]]
    return said + more or ["by its own list it changes no gate"]


def _wheel(project: Project, tree: str) -> bytes | None:
    """The bytes of the wheel in ``vendor/`` of the tree that its locks name; None without one."""
    lock = git(project, "show", f"{tree}:./{LOCKS}/train.txt") or ""
    line = blocks(lock).get(LIBRARY, "")
    listed = git(project, "ls-tree", "-z", tree, f"./{VENDOR}/") or ""
    for entry in listed.split("\0"):
        about, _, name = entry.partition("\t")
        mode, _, blob = (about.split() + [""] * 3)[:3]
        if not name.endswith(".whl") or mode not in change.PLAIN:
            continue
        content = change.bytes_of(project, blob, WHEEL)
        if content and f"sha256:{hashlib.sha256(content).hexdigest()}" in line:
            return content
    return None
