"""Verb ``promote``: name a blessed image in the record; and which release a rollback returns to.

Promoting says what *shall* run; ``deploy`` brings the environment there.
"""

import getpass
import json
import os
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from gatehouse.core.config import results
from gatehouse.core.console import say
from gatehouse.core.digests import MODEL, file_digest
from gatehouse.core.errors import CLOSED, GOOD, Stop
from gatehouse.core.files import read_json
from gatehouse.core.layout import BLESSING
from gatehouse.core.project import Project
from gatehouse.report.markdown import plain
from gatehouse.vcs.dvc import md5_of, outs
from gatehouse.vcs.git import MAIN, git, on_main

from . import mirror, record
from .record import Read, Record, short
from .sign import kept

IMAGE, LOCK = Path("reports/image.json"), Path("dvc.lock")


def promote(project: Project, to: str, why: str, *, as_json: bool) -> int:
    """Write the image of ``reports/image.json`` into the record of ``to``; idempotent.

    Raises Stop: 1 where a blessing is missing, the champion has changed, or production is asked
    for what is not in staging; 3 where the origin cannot be reached.
    """
    written, new = put(project, to, why)
    say(
        f"promote: {to} shall run it now: `make deploy ENV={to}`"
        if new
        else f"promote: {to} has it already, since {written.when}, by {plain(written.who)}"
    )
    if as_json:
        said = {"environment": to, "changed": new, "at": written.at, **written.content()}
        sys.stdout.write(json.dumps(said, indent=2, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(f"{to}: {told(written)}\n")
    sys.stdout.flush()
    mirror.mirror(project, "promote")
    return GOOD


def put(project: Project, to: str, why: str, branch: str = "") -> tuple[Record, bool]:
    """The record as written, and whether it is new; on ``branch``, where that is to be merged."""
    wanted, blessing = _release(project, why)
    before: Record | None = None

    def decide(read: Read) -> Record:
        nonlocal before
        before = read(to)
        if before and same(before, wanted):
            return before
        if to == "production":
            staged = read("staging")
            if staged is None or not same(staged, wanted):
                what = f"{short(staged.image)} is" if staged else "nothing was released there"
                raise Stop(
                    "not-in-staging",
                    f"{short(wanted.image)} is not in staging ({what}): promote and deploy it "
                    "there first",
                    CLOSED,
                )
            if changed := _changed(blessing, before, wanted.model):
                raise Stop("record-moved", changed, CLOSED)
        return replace(wanted, previous=before.at if before else None)

    beside = {record.kept_as(wanted.blessing): project / BLESSING} | kept(project, wanted.image)
    if branch:
        written = record.propose(project, to, decide, beside, branch)
    else:
        written = record.change(project, to, decide, beside)
    new = written is not before
    if new and to == "staging":
        # It serves nobody there, so it may be looked at; but no later than now one hears of it.
        with suppress(Stop):
            production = record.read(project, "production", record.tip(project, fetch=False))
            if changed := _changed(blessing, production, wanted.model):
                say(f"promote: production will not take it: {changed}")
    return written, new


def back(project: Project, environment: str, why: str, *, only: Record | None = None) -> Record:
    """Write the release before the one that ``environment`` has now, and return it.

    ``only``: nothing is written where the record is another than this by now. Raises Stop (1)
    where there is no release before.
    """

    def decide(read: Read) -> Record:
        now = read(environment)
        if only and (now is None or now.at != only.at):
            raise Stop(
                "record-moved",
                f"the record of {environment} has changed meanwhile: look again",
                CLOSED,
            )
        if now is None:
            raise Stop("nothing-promoted", f"nothing was released to {environment}", CLOSED)
        if (old := record.before(project, environment, now)) is None:
            raise Stop(
                "no-way-back", f"{environment} has no release before {short(now.image)}", CLOSED
            )
        return _again(project, old, why)

    return record.change(project, environment, decide)


def restore(project: Project, environment: str, to: str, why: str) -> Record:
    """Write the release that commit ``to`` of the branch holds once more; idempotent."""

    def decide(read: Read) -> Record:
        now = read(environment)
        old = record.of_main(project, environment, record.at(project, environment, to))
        return now if now and same(now, old) else _again(project, old, why)

    return record.change(project, environment, decide)


def same(one: Record, other: Record) -> bool:
    """Whether both are the same image, of the same commit."""
    return (one.image, one.id, one.commit) == (other.image, other.id, other.commit)


def told(release: Record) -> str:
    """A release in a few words."""
    return (
        f"model {short(release.model)}, image {short(release.image)}, commit {release.commit[:7]}"
    )


def who(project: Project) -> str:
    """Who does this: the actor of the workflow and its run, else whom git or the system knows."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        at = [os.environ.get(f"GITHUB_{n}", "") for n in ("SERVER_URL", "REPOSITORY", "RUN_ID")]
        run = " ({}/{}/actions/runs/{})".format(*at) if all(at) else ""
        return os.environ.get("GITHUB_ACTOR", "GitHub Actions") + run
    name, address = ((git(project, "config", f"user.{k}") or "").strip() for k in ("name", "email"))
    if name:
        return f"{name} <{address}>" if address else name
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # a user without a name, as in some containers
        return "unknown"


def _again(project: Project, old: Record, why: str) -> Record:
    return replace(old, action="rollback", who=who(project), why=why, when=_now(), at="")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _release(project: Project, why: str) -> tuple[Record, results.Blessing]:
    """The image built here with its blessings, as a record; Stop (1) where one is missing."""
    blessing = results.blessing(project.root)
    image, model = read_json(project / IMAGE, "run `make image`"), blessing.model_digest
    more = {"action": "promote", "who": who(project), "why": why, "when": _now(), "previous": None}
    try:
        wanted = record.parse(image | more)
    except ValueError as error:
        raise Stop(
            "image-record-damaged", f"{IMAGE} is damaged ({error}): run `make image`"
        ) from None
    if wanted.model != model or wanted.blessing != file_digest(project / BLESSING):
        raise Stop(
            "image-of-other-model",
            f"{IMAGE} is of another model or blessing: run `make image`",
            CLOSED,
        )
    if image.get("blessed") is not True:
        reasons = "; ".join(map(str, image.get("reasons") or [])) or "no reason is given"
        raise Stop(
            "image-not-blessed",
            f"the image is not blessed ({reasons}): mend it, then `make image`",
            CLOSED,
        )
    # Who compares with this release, or looks why it is as it is, finds it by its commit.
    there = outs(git(project, "show", f"{wanted.commit}:{LOCK}") or "")
    if there.get("model") != md5_of(project / MODEL):
        raise Stop(
            "model-not-of-lock",
            f"{LOCK} of commit {wanted.commit[:7]} has another model: commit {LOCK}, then "
            "`make image`",
            CLOSED,
        )
    if not on_main(project, wanted.commit):
        raise Stop(
            "commit-not-of-main",
            f"the image is of commit {wanted.commit[:7]}, which is none of {MAIN}: merge it there, "
            f"then `make image` on {MAIN}",
            CLOSED,
        )
    return wanted, blessing


def _changed(blessing: results.Blessing, production: Record | None, model: str) -> str:
    """Why the blessing says nothing about the model in production now; "" where it does."""
    judged = blessing.champion and blessing.champion.model_digest
    # A first release has no champion; another image of the champion has none to be better than.
    if production is None or production.model in (judged, model):
        return ""
    against = f"model {short(str(judged))}" if judged else "no champion"
    return (
        f"the champion has changed since the blessing (model {short(production.model)} is in "
        f"production, the candidate was compared with {against}): run `make pipeline gate image`"
    )
