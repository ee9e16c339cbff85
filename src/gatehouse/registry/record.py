"""The record: what shall run in staging and in production, on branch ``environments``.

One file for each environment. It changes as ``vcs.branch_store`` says: by compare and swap, and a
command that is killed leaves the old record or the new one.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from gatehouse.core.console import say
from gatehouse.core.errors import Stop
from gatehouse.core.files import fault_of, json_object, near
from gatehouse.core.project import Project
from gatehouse.vcs.branch_store import Branch, Draft
from gatehouse.vcs.git import MAIN, failed, on_main, run

ENVIRONMENTS = ("staging", "production")
BRANCH = "environments"
_DIGEST, _MD5, _COMMIT = "sha256:[0-9a-f]{64}", "[0-9a-f]{32}", "[0-9a-f]{40}|[0-9a-f]{64}"
_TEXT = "[^\ud800-\udfff]*"  # what can be written as UTF-8
SHAPES = {
    "action": "promote|rollback",
    # By digest; or by its tag in the engine of one machine, where no repository is set.
    "image": f"[a-z0-9][A-Za-z0-9._:/-]*@{_DIGEST}|[a-z0-9][A-Za-z0-9._-]*:[A-Za-z0-9._-]+",
    "id": _DIGEST,
    "model": _DIGEST,
    "blessing": _DIGEST,
    "commit": _COMMIT,
    "who": _TEXT,
    "why": _TEXT,
    "when": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "previous": _COMMIT,
}
FORM, FIELDS = 1, ("version", "data", *SHAPES)


@dataclass(frozen=True)
class Record:
    """What one environment shall run, and who said so."""

    action: str
    image: str
    id: str
    model: str
    blessing: str
    data: dict[str, str]
    commit: str  # of code and model
    who: str
    why: str
    when: str
    previous: str | None  # commit of the branch that holds the release before this one
    at: str = field(default="", compare=False)  # commit of the branch that holds this one

    def content(self) -> dict[str, Any]:
        """What stands in the file."""
        return {name: value for name, value in asdict(self).items() if name != "at"}


Read = Callable[[str], Record | None]  # as it is written, whatever it names


def _store(project: Project) -> Branch:
    return Branch(project, BRANCH, "record")


def _of_file(content: dict[str, Any]) -> dict[str, Any]:
    """What stands in a file: known keys alone; that of an older library has no version."""
    form = content.get("version")
    if "version" in content and (type(form) is not int or form != FORM):
        raise ValueError(f"version is {form!r}, and not {FORM}")
    for name in content if "version" in content else ():
        if name not in FIELDS:
            raise ValueError(f"there is no field {name}{near(name, FIELDS)}")
    return content


def parse(content: dict[str, Any], at: str = "") -> Record:
    """The record in ``content``; ValueError says what is wrong with it."""
    for name, shape in SHAPES.items():
        value = content.get(name)
        if name == "previous" and value is None:
            continue
        if not isinstance(value, str) or not re.fullmatch(shape, value):
            raise ValueError(f"{name} is missing or no {name}")
    data = content.get("data")
    pairs = [f"{name}={value}" for name, value in data.items()] if isinstance(data, dict) else [""]
    if not all(re.fullmatch(rf"[\w.-]+=({_DIGEST}|{_MD5})", pair) for pair in pairs):
        raise ValueError("data is missing or no digests")
    said: dict[str, Any] = {name: content.get(name) for name in [*SHAPES, "data"]}
    return Record(**said, at=at)


def tip(project: Project, *, fetch: bool = True) -> str:
    """The branch's commit, "" without one: the origin's, and this repository's where it has none.

    Raises Stop (3) where the origin cannot be asked; ``fetch=False`` does not ask.
    """
    return _store(project).tip(fetch=fetch)


def read(project: Project, environment: str, top: str) -> Record | None:
    """What ``environment`` shall run, as of commit ``top`` of the branch; None before a release.

    Stop where it may not be used: see ``of_main``.
    """
    found = written(project, environment, top)
    fix = f"`make rollback ENV={environment}`, or revert that commit there"
    return of_main(project, environment, found, fix) if found else None


def of_main(
    project: Project, environment: str, release: Record, fix: str = "revert that commit there"
) -> Record:
    """The release; Stop where its commit is none of main, so that no gate has ever let it in.

    Whoever may push can write the branch, and could name a model that was never judged.
    """
    if on_main(project, release.commit):
        return release
    where = f"{environment}.json of {release.at[:9]} on branch {BRANCH}"
    raise Stop(
        "record-not-of-main",
        f"{where} names commit {release.commit[:9]}, which is none of {MAIN} and is not "
        f"used: {fix}",
    )


def written(project: Project, environment: str, top: str) -> Record | None:
    """What the branch says, also where it may not be used: to be shown or replaced."""
    made = _store(project).log(top, "-1", "--", f"{environment}.json")
    return at(project, environment, made[0]) if made else None


def at(project: Project, environment: str, made: str) -> Record:
    """The record that commit ``made`` holds; Stop where it is none."""
    where = f"{environment}.json of {made[:9]} on branch {BRANCH}"
    text = _store(project).text(made, f"{environment}.json")
    if text is None:
        raise Stop(
            "history-shallow", f"{where} is not here: run `git fetch --unshallow origin {BRANCH}`"
        )
    try:
        return parse(_of_file(json_object(text)), made)
    except (ValueError, RecursionError) as error:
        raise Stop(
            "record-damaged", f"{where} is damaged ({fault_of(error)}): revert that commit there"
        ) from None


def before(project: Project, environment: str, record: Record | None) -> Record | None:
    """The release that a rollback from ``record`` goes back to; None without one.

    Stop where it may not be used: see ``of_main``.
    """
    if not record or not record.previous:
        return None
    return of_main(project, environment, at(project, environment, record.previous))


def judged(project: Project, release: Record) -> dict[str, Any] | None:
    """The blessing of a release, which the branch keeps; None for one from before it did."""
    text = _store(project).text(release.at, kept_as(release.blessing))
    if text is None:
        return None
    if f"sha256:{hashlib.sha256(text.encode()).hexdigest()}" != release.blessing:
        what = f"{kept_as(release.blessing)} of {release.at[:9]} on branch {BRANCH}"
        raise Stop("record-damaged", f"{what} was changed: revert that commit there")
    said: dict[str, Any] = json.loads(text)
    return said


def kept_as(blessing: str) -> str:
    """The name on the branch of the blessing with this digest."""
    return f"blessing-{short(blessing)}.json"


def history(project: Project, top: str, *environments: str) -> list[tuple[str, Record]]:
    """Every (environment, record), newest first; one that is damaged is said and left out."""
    order = {made: n for n, made in enumerate(_store(project).log(top))}
    rows = [
        (name, made)
        for name in environments
        for made in _store(project).log(top, "--", f"{name}.json")
    ]
    found = []
    for name, made in sorted(rows, key=lambda row: order[row[1]]):
        try:
            found.append((name, at(project, name, made)))
        except Stop as stop:
            say(f"history: {stop}")
    return found


def change(
    project: Project,
    environment: str,
    decide: Callable[[Read], Record],
    beside: Mapping[str, Path] | None = None,
) -> Record:
    """Write what ``decide`` says, given what the branch says now; the record with its commit.

    ``beside`` are files that go into the same commit, by their names there.

    Where somebody else was first, ``decide`` is asked again. A record that it has from the branch
    (``at``) is not written again, and a Stop of its own writes nothing.
    """
    wanted: list[Record] = []

    def draft(top: str) -> Draft | None:
        wanted[:] = [decide(partial(written, project, top=top))]
        return None if wanted[0].at else _draft(environment, wanted[0], beside or {})

    made = _store(project).change(draft)
    return replace(wanted[0], at=made) if made else wanted[0]


def propose(
    project: Project,
    environment: str,
    decide: Callable[[Read], Record],
    beside: Mapping[str, Path],
    branch: str,
) -> Record:
    """As ``change``, but on a branch of its own: a pull request merges it, or nobody does."""
    top = tip(project)
    wanted = decide(partial(written, project, top=top))
    if wanted.at:
        return wanted
    made = _store(project).commit(_draft(environment, wanted, beside), top)
    there = f"+{made}:refs/heads/{branch}"
    done = run(project, "push", "--quiet", "--no-verify", "origin", there)
    if done.returncode:
        raise failed("pushed", done, branch)
    return replace(wanted, at=made)


def _draft(environment: str, record: Record, beside: Mapping[str, Path]) -> Draft:
    text = json.dumps({"version": FORM, **record.content()}, indent=2, ensure_ascii=False)
    texts = {name: path.read_text(encoding="utf-8") for name, path in beside.items()}
    why = f" ({reason})" if (reason := " ".join(record.why.split())) else ""
    message = f"{environment}: {record.action} model {short(record.model)}{why}"
    return Draft(texts | {f"{environment}.json": text + "\n"}, message)


def short(name: str) -> str:
    """A digest, or the digest in an image's name, in seven digits."""
    return re.sub("(sha256:)?([0-9a-f]{7})[0-9a-f]{33,}", r"\2", name)
