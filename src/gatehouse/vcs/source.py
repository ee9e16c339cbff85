"""``gatehouse data``: fetch the source, and refuse files that are not what was recorded.

DVC trusts what it finds in its cache or downloads: a changed byte would be trained on. So what the
cache holds of this commit is held against its digests before anything is made from it.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from gatehouse.core.console import say
from gatehouse.core.errors import GOOD, INFRASTRUCTURE, Stop
from gatehouse.core.files import read_section
from gatehouse.core.project import Project

from . import dvc
from .data_branch import refresh
from .git import patiently

FETCH = Path("data/fetch.py")


def fetch_source(project: Project) -> int:
    """Put the source in its place if it is not there; a source that is there is yours.

    What the pipeline made of this commit comes into the cache with it, so that nobody makes it
    again: ``dvc repro`` finds it there.
    """
    dvc.alone(project)
    said = read_section(project / "params.yaml", "ingest").get("source")
    if not isinstance(said, str):
        raise Stop("source-unnamed", "params.yaml names no ingest.source: say where the table lies")
    source, cache = project / said, dvc.cache(project)
    made = dvc.recorded(project, Path("dvc.lock"))
    recorded = dvc.recorded(project, Path(f"{said}.dvc"))
    recorded |= made
    lacking = not source.exists() and not (project / FETCH).exists()
    if lacking or not all(dvc.cached(cache, md5).exists() for md5 in made.values()):
        try:
            refresh(project, "data")
            if made:
                patiently("data", partial(_fetch_made, project))
        except Stop as stop:
            if lacking or stop.exit_code != INFRASTRUCTURE:
                raise
            say(f"data: {stop}; what is not here is made again")
    for path, md5 in recorded.items():
        for file, digest in _files(cache, project / path, md5):
            _refuse_damaged(cache, file, digest)
    if source.exists():
        return GOOD
    md5 = recorded.get(said, "")
    if (project / FETCH).exists() and not (md5 and dvc.cached(cache, md5).exists()):
        return subprocess.run(
            [sys.executable, "-P", str(FETCH)], check=False, cwd=project.root
        ).returncode
    if not md5:
        raise Stop(
            "source-missing",
            f"{said} is neither here nor in a DVC remote: put the file in its place",
        )
    pulled = patiently("data", lambda: _pull(project, said, md5))
    _refuse_damaged(pulled, source, md5)
    return GOOD


def _fetch_made(project: Project) -> None:
    """What is in no remote is no error: it is made again."""
    from dvc.config import NoRemoteError

    what = "what the pipeline made could not be fetched"
    with dvc.repository(project, what) as repo, contextlib.suppress(NoRemoteError):
        # Whoever may push data could write what a stage gave: CI takes no such word for it.
        repo.fetch(run_cache=not os.environ.get("BASE_REF"))


def _pull(project: Project, said: str, md5: str) -> Path:
    """Pull the source and return the cache that it went through."""
    from dvc.config import NoRemoteError
    from dvc.exceptions import CheckoutError

    with dvc.repository(project, f"{said} could not be fetched") as repo:
        try:
            try:
                repo.pull(targets=[f"{said}.dvc"])
            except CheckoutError:
                # Over http, a server that does not answer looks like a file that is not there.
                store = repo.cloud.get_remote_odb()
                store.fs.info(store.oid_to_path(md5))
                raise
        except NoRemoteError:
            raise Stop(
                "source-missing",
                f"{said} is not here and no DVC remote is set: put the file in its place, or name "
                "the remote with `dvc remote add --default`",
            ) from None
        except FileNotFoundError as error:
            cause = error.__cause__ or error
            if not isinstance(cause, FileNotFoundError) and getattr(cause, "status", 0) != 404:
                raise
            raise Stop(
                "data-not-pushed",
                f"{said} is in no cache or remote, data not pushed: run `gatehouse push` (or "
                f"`dvc push`) where {said}.dvc was committed",
            ) from None
        return Path(repo.cache.local.path)


def _refuse_damaged(cache: Path, file: Path, md5: str) -> None:
    """Stop where the cache holds other bytes than recorded, once they are gone from the cache and
    from the work tree, so that the next run fetches or makes them again.
    """
    found = dvc.md5_of(dvc.cached(cache, md5))
    if found in (None, md5.removesuffix(".dir")):
        return
    dvc.cached(cache, md5).unlink()
    if dvc.md5_of(file) == md5:
        say(f"data: DVC's cache held a damaged copy of {file}, which was removed")
        return
    if dvc.md5_of(file) == found:
        file.unlink()
    raise Stop(
        "data-damaged",
        f"{file} is damaged, its digest is {found} and not {md5} as recorded: the damaged copy was "
        "removed, run the same again to fetch or make it afresh",
    )


def _files(cache: Path, path: Path, md5: str) -> Iterator[tuple[Path, str]]:
    """(file, MD5) of an output: the file itself, or the list of a folder and all that it lists."""
    yield path, md5
    if md5.endswith(".dir") and (listed := dvc.cached(cache, md5)).is_file():
        for entry in json.loads(listed.read_text(encoding="utf-8")):
            yield path / entry["relpath"], entry["md5"]
