"""The record: what shall run in staging and in production, on branch ``environments``.

One file for each environment. It changes by a push that the origin refuses when somebody else was
first; without an origin the branch is here, and git compares the same. No work tree and no index
is touched, so a command that is killed leaves the old record or the new one.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..console import INFRASTRUCTURE, Stop, say
from ..git import commit, git, run, somebody
from ..storage import failed, fetch_branch, has_origin, patiently

ENVIRONMENTS = ("staging", "production")
BRANCH = "environments"
HERE, THERE = f"refs/heads/{BRANCH}", f"refs/remotes/origin/{BRANCH}"
TRIES = 5
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


Read = Callable[[str], Record | None]


def parse(content: Any, at: str = "") -> Record:
    """The record in ``content``; ValueError says what is wrong with it."""
    if not isinstance(content, dict):
        raise ValueError("no JSON object")
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


def tip(*, fetch: bool = True) -> str:
    """The branch's commit, "" without one: the origin's, and this repository's where it has none.

    Raises Stop (3) where the origin cannot be asked; ``fetch=False`` does not ask.
    """
    if fetch:
        patiently("record", partial(fetch_branch, BRANCH))
    return (has_origin() and commit(THERE)) or commit(HERE) or ""


def read(environment: str, top: str) -> Record | None:
    """What ``environment`` shall run, as of commit ``top`` of the branch; None before a release."""
    made = _log(top, "-1", "--", f"{environment}.json")
    return at(environment, made[0]) if made else None


def at(environment: str, made: str) -> Record:
    """The record that commit ``made`` holds; Stop where it is none."""
    where = f"{environment}.json of {made[:9]} on branch {BRANCH}"
    text = git("cat-file", "blob", f"{made}:{environment}.json")
    if text is None:
        raise Stop(f"{where} is not here: run `git fetch --unshallow origin {BRANCH}`")
    try:
        return parse(json.loads(text), made)
    except (ValueError, RecursionError) as error:
        why = error if type(error) is ValueError else "no JSON"
        raise Stop(f"{where} is damaged ({why}): revert that commit there") from None


def before(environment: str, record: Record | None) -> Record | None:
    """The release that a rollback from ``record`` goes back to; None without one."""
    return at(environment, record.previous) if record and record.previous else None


def history(top: str, *environments: str) -> list[tuple[str, Record]]:
    """Every (environment, record), newest first; one that is damaged is said and left out."""
    order = {made: n for n, made in enumerate(_log(top))}
    rows = [(name, made) for name in environments for made in _log(top, "--", f"{name}.json")]
    found = []
    for name, made in sorted(rows, key=lambda row: order[row[1]]):
        try:
            found.append((name, at(name, made)))
        except Stop as stop:
            say(f"history: {stop}")
    return found


def change(
    environment: str, decide: Callable[[Read], Record], beside: Mapping[str, Path] | None = None
) -> Record:
    """Write what ``decide`` says, given what the branch says now; the record with its commit.

    ``beside`` are files that go into the same commit, by their names there.

    Where somebody else was first, ``decide`` is asked again. A record that it has from the branch
    (``at``) is not written again, and a Stop of its own writes nothing.
    """
    for _ in range(TRIES):
        top = tip()
        wanted = decide(partial(read, top=top))
        if wanted.at:
            return wanted
        made = _commit(environment, wanted, top, beside or {})
        if patiently("record", partial(_push, made, top)):
            return replace(wanted, at=made)
        say("record: somebody else was first, so look again")
    raise Stop(f"{BRANCH} changed {TRIES} times meanwhile: run the same again", INFRASTRUCTURE)


def propose(
    environment: str, decide: Callable[[Read], Record], beside: Mapping[str, Path], branch: str
) -> Record:
    """As ``change``, but on a branch of its own: a pull request merges it, or nobody does."""
    top = tip()
    wanted = decide(partial(read, top=top))
    if wanted.at:
        return wanted
    made = _commit(environment, wanted, top, beside)
    there = f"+{made}:refs/heads/{branch}"
    done = run("push", "--quiet", "--no-verify", "origin", there)
    if done.returncode:
        raise failed("pushed", done, branch)
    return replace(wanted, at=made)


def _log(top: str, *words: str) -> list[str]:
    # Not `log`, which somebody's settings make follow renames: one file begins as another's copy.
    log = git("rev-list", top, *words) if top else ""
    if log is None:
        raise Stop(f"git cannot read branch {BRANCH}: run `git fetch origin {BRANCH}`")
    return log.split()


def _commit(environment: str, record: Record, top: str, beside: Mapping[str, Path]) -> str:
    """A commit of the record on top of ``top``, which nothing points to yet."""
    text = json.dumps(record.content(), indent=2, ensure_ascii=False)
    texts = {name: path.read_text(encoding="utf-8") for name, path in beside.items()}
    lines = _do("ls-tree", "--full-tree", top).splitlines(keepends=True) if top else []
    for name, content in (texts | {f"{environment}.json": text + "\n"}).items():
        blob = _do("hash-object", "-w", "--stdin", given=content).strip()
        lines = [line for line in lines if not line.endswith(f"\t{name}\n")]
        lines.append(f"100644 blob {blob}\t{name}\n")
    tree = _do("mktree", given="".join(lines)).strip()
    why = f" ({reason})" if (reason := " ".join(record.why.split())) else ""
    message = f"{environment}: {record.action} model {short(record.model)}{why}"
    onto = ("-p", top) if top else ()
    return _do(*somebody("Gatehouse"), "commit-tree", tree, *onto, "-m", message).strip()


def _push(made: str, top: str) -> bool:
    """Move the branch from ``top`` to ``made``; False where it is somewhere else by now."""
    if has_origin():
        done = run("push", "--quiet", "--no-verify", "origin", f"{made}:{HERE}")
    else:
        done = run("update-ref", HERE, made, top or "0" * len(made))
    if done.returncode:
        fetch_branch(BRANCH)
        now = tip(fetch=False)
        if now == top:
            raise failed("pushed", done, BRANCH)
        # The origin may have taken it, and only its answer was lost.
        return bool(now) and git("merge-base", "--is-ancestor", made, now) is not None
    if has_origin():
        git("update-ref", THERE, made)
    return True


def _do(*words: str, given: str | None = None) -> str:
    done = run(*words, given=given)
    if done.returncode:
        raise failed("written", done, BRANCH)
    return done.stdout


def short(name: str) -> str:
    """A digest, or the digest in an image's name, in seven digits."""
    return re.sub("(sha256:)?([0-9a-f]{7})[0-9a-f]{33,}", r"\2", name)
