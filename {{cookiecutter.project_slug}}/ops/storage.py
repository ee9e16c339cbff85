"""Verb ``push``, and the data remote: by default the branch ``dvc-storage`` of this repository.

DVC reads and writes the folder ``.dvc-storage``; git carries its files to and from the branch by
an index of their own. Files are named after their content, so nobody's push undoes another's.
"""

import configparser
import logging
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from .console import GOOD, INFRASTRUCTURE, Stop, say
from .git import commit, git, run, somebody

FOLDER, BRANCH = Path(".dvc-storage"), "dvc-storage"
HERE, THERE = f"refs/heads/{BRANCH}", f"refs/remotes/origin/{BRANCH}"
MB, GB = 10**6, 10**9
FILE_MAX, BRANCH_MAX = 90 * MB, GB  # GitHub refuses files over 100 MB
ATTRIBUTES = "* -text -delta -diff\n"  # what this machine's git does to text, not to data
TRIES = 3
T = TypeVar("T")


def push() -> int:
    """Push the data, the run cache and the branch that is checked out; idempotent."""
    if git("rev-parse", "--verify", "HEAD") is None:
        raise Stop("git has no commit here: `git init -b main && git add . && git commit`")
    push_data()
    if not has_origin():
        raise Stop("git has no remote: `git remote add origin URL`, then `make push` again")
    patiently("push", _push_branch)
    return GOOD


def push_data(*pointers: str) -> None:
    """Push the data and the run cache to the DVC remote; of ``*.dvc`` files named, theirs alone."""
    refresh("push")
    patiently("push", partial(_push_data, pointers))
    if embedded():
        patiently("push", _publish)


def refresh(verb: str) -> None:
    """Bring the folder up to date with the branch, where that is the remote and exists."""
    if embedded():
        patiently(verb, _fetch)


def config() -> configparser.ConfigParser:
    """What .dvc/config and .dvc/config.local say."""
    read = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        read.read([".dvc/config", ".dvc/config.local"], encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        raise Stop(".dvc/config cannot be read: `git checkout .dvc/config`") from None
    return read


def embedded() -> bool:
    """Whether the default DVC remote is the branch."""
    said = config()
    section = f"'remote \"{said.get('core', 'remote', fallback='')}\"'"
    return said.get(section, "url", fallback="") == f"../{FOLDER}"


def has_origin() -> bool:
    """Whether git has a remote to push to."""
    return git("remote", "get-url", "origin") is not None


def fetch_branch(branch: str) -> None:
    """Bring ``origin/BRANCH`` up to date; where the origin has none, there is none here either."""
    if not has_origin():
        return
    words = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "origin")
    there = f"refs/remotes/origin/{branch}"
    done = run(*words, f"+refs/heads/{branch}:{there}")
    if "couldn't find remote ref" in done.stderr:
        git("update-ref", "-d", there)
    elif done.returncode:
        raise failed("fetched", done, branch)


def patiently(verb: str, step: Callable[[], T]) -> T:
    """Run ``step``; where the infrastructure fails it, try again, ``TRIES`` times in all."""
    pause = float(os.environ.get("RETRY_SECONDS", "1"))
    for left in reversed(range(TRIES)):
        try:
            return step()
        except Stop as stop:
            if stop.code != INFRASTRUCTURE:
                raise
            if not left:
                text = f"{stop}, {TRIES} tries failed: see that the remote can be reached"
                raise Stop(text, INFRASTRUCTURE) from None
            say(f"{verb}: {stop}, trying again in {pause:g} s")
        time.sleep(pause)
        pause *= 3
    raise AssertionError


@contextmanager
def dvc_repository(what: str) -> Iterator[Any]:
    """DVC in this process: its progress stays visible, and its errors become sentences."""
    from dvc.config import ConfigError
    from dvc.repo import Repo

    for name in ("dvc", "dvc_data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with Repo() as repo:
            yield repo
    except Stop:
        raise
    except (ConfigError, ImportError) as error:
        raise Stop(
            f"{_line(str(error))}: correct the DVC remote in .dvc/config, or add what it needs to "
            "requirements/train.in"
        ) from None
    except Exception as error:  # each kind of remote has errors of its own
        cause = error.__cause__ or error
        reason = _line(str(cause)) or type(cause).__name__
        raise Stop(f"{what} ({reason})", INFRASTRUCTURE) from None


def _push_data(pointers: tuple[str, ...]) -> None:
    from .source import keep

    with dvc_repository("the data could not be pushed") as repo:
        keep(repo)
        if pointers:
            repo.push(targets=list(pointers))
            say(f"push: {', '.join(pointers)} is in the DVC remote")
            return
        repo.push(run_cache=True)
        states = repo.status(cloud=True)
    if lost := sorted(path for path, state in states.items() if state in ("missing", "new")):
        raise Stop(
            f"{', '.join(lost)} cannot be pushed, being neither in the cache nor in the remote as "
            "recorded: run `make pipeline`, commit, then `make push` again"
        )
    say("push: data and run cache are in the DVC remote")


def _fetch() -> str | None:
    """Fetch the branch, write its files into the folder, return its commit; None without one."""
    fetch_branch(BRANCH)
    tips = [tip for ref in (HERE, THERE) if (tip := commit(ref))]
    for tip in tips:
        _do("checkout", "--quiet", tip, "--", ".")
    for path in (FOLDER / "files").rglob("*"):
        if path.is_file() and path.stat().st_mode & 0o222:
            path.chmod(0o444)  # DVC hashes what can be written, each time, and deletes what differs
    return tips[-1] if tips else None


def _publish() -> None:
    """Commit what the folder has and the branch has not, on top of everybody else's."""
    tip = _fetch()
    known = set(_do("ls-tree", "-r", "--name-only", tip).splitlines()) if tip else set()
    _refuse_large(known)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / ".gitattributes").write_text(ATTRIBUTES, encoding="utf-8")
    _do("add", "--all", "--force", ".")
    tree = _do("write-tree").strip()
    if not tip or tree != commit(f"{tip}:"):
        onto = ("-p", tip) if tip else ()
        tip = _do(*somebody("make push"), "commit-tree", tree, *onto, "-m", "Add data").strip()
    if not has_origin():
        _do("update-ref", HERE, tip)
    elif tip != commit(THERE):
        done = run("push", "--quiet", "--no-verify", "origin", f"{tip}:{HERE}")
        if done.returncode:
            raise failed("pushed", done)
        _do("update-ref", THERE, tip)
        say(f"push: branch {BRANCH} is on origin")


def _refuse_large(known: set[str]) -> None:
    """Stop before GitHub would; what the branch has not yet leaves the folder again."""
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    sizes = {path.relative_to(FOLDER).as_posix(): path.stat().st_size for path in files}
    new = {name: size for name, size in sizes.items() if name not in known}
    largest, total = max(new.values(), default=0), sum(sizes.values())
    if largest > FILE_MAX:
        what = f"a file of {largest / MB:,.0f} MB is more than the {FILE_MAX / MB:.0f} MB"
    elif new and total > BRANCH_MAX:
        what = f"data of {total / GB:.1f} GB are more than the {BRANCH_MAX / GB:.0f} GB"
    else:
        return
    for name in new:
        (FOLDER / name).unlink()
    raise Stop(
        f"{what} that branch {BRANCH} takes, and nothing was pushed: take a bucket instead, "
        "`dvc remote add --default --force storage s3://BUCKET/PATH`, see Gatehouse's "
        "docs/data-remote.md"
    )


def _push_branch() -> None:
    branch = (git("symbolic-ref", "--quiet", "--short", "HEAD") or "").strip()
    if not branch:
        say("push: no branch is checked out: only the data were pushed")
        return
    if changed := git("status", "--porcelain", "--", "dvc.lock", "*.dvc"):
        names = ", ".join(line[3:] for line in changed.splitlines())
        say(f"push: {names} not committed: commit and push again, or nobody finds these data")
    upstream = (git("rev-parse", "--abbrev-ref", "@{upstream}") or "").strip()
    # A branch made of origin/main follows main, and git refuses to push one to the other.
    own = upstream.endswith(f"/{branch}")
    done = run("push", "--quiet", *([] if own else ["--set-upstream", "origin", "HEAD"]))
    if "[rejected]" in done.stderr:
        raise Stop(f"{branch} has new commits on origin: `git pull --rebase`, then `make push`")
    if done.returncode:
        raise failed("pushed", done, branch)
    say(f"push: {branch} is on origin")


def _do(*words: str) -> str:
    """Standard output of a git command over the folder."""
    FOLDER.mkdir(exist_ok=True)
    folder = (git("rev-parse", "--absolute-git-dir") or "").strip()
    # A link in the branch becomes a file, and leads nowhere; a new mode is no new content.
    options = ("-c", "core.symlinks=false", "-c", "core.trustctime=false")
    place = ("-C", str(FOLDER), "--work-tree=.", *options)
    done = run(*place, *words, GIT_INDEX_FILE=f"{folder}/{BRANCH}.index")
    if done.returncode:
        raise failed("written", done)
    return done.stdout


def failed(deed: str, done: subprocess.CompletedProcess[str], branch: str = BRANCH) -> Stop:
    """Why git could not, as the error of the infrastructure that it is."""
    said = [line for line in done.stderr.splitlines() if line.strip() and line[:5] != "hint:"]
    why = next((line for line in said if "rejected]" in line), (said or ["no message"])[-1])
    return Stop(f"{branch} could not be {deed} ({' '.join(why.split())})", INFRASTRUCTURE)


def _line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0]
