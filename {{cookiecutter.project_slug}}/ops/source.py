"""Verb ``data``: fetch the source, and refuse files that are not what was recorded.

DVC trusts what it finds in its cache or downloads: a changed byte would be trained on. So what the
cache holds of this commit is held against its digests before anything is made from it.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from . import storage
from .console import GOOD, INFRASTRUCTURE, Stop, read_section, say

FETCH = Path("data/fetch.py")


def fetch_source() -> int:
    """Put the source in its place if it is not there; a source that is there is yours.

    What the pipeline made of this commit comes into the cache with it, so that nobody makes it
    again: ``dvc repro`` finds it there.
    """
    said = read_section(Path("params.yaml"), "ingest").get("source")
    if not isinstance(said, str):
        raise Stop("params.yaml names no ingest.source: say where the table lies")
    source, cache = Path(said), _cache()
    made, recorded = _outs(Path("dvc.lock")), _outs(Path(f"{said}.dvc"))
    recorded |= made
    lacking = not source.exists() and not FETCH.exists()
    if lacking or not all(_object(cache, md5).exists() for md5 in made.values()):
        try:
            storage.refresh("data")
            if made:
                storage.patiently("data", _fetch_made)
        except Stop as stop:
            if lacking or stop.code != INFRASTRUCTURE:
                raise
            say(f"data: {stop}; what is not here is made again")
    for path, md5 in recorded.items():
        for file, digest in _files(cache, Path(path), md5):
            _refuse_damaged(cache, file, digest)
    if source.exists():
        return GOOD
    md5 = recorded.get(said, "")
    if FETCH.exists() and not (md5 and _object(cache, md5).exists()):
        return subprocess.run([sys.executable, str(FETCH)], check=False).returncode
    if not md5:
        raise Stop(f"{said} is neither here nor in a DVC remote: put the file in its place")
    pulled = storage.patiently("data", lambda: _pull(said, md5))
    _refuse_damaged(pulled, source, md5)
    return GOOD


def keep(repo: Any) -> None:
    """Put the source into the cache as recorded, where no pipeline has done so yet."""
    said = str(read_section(Path("params.yaml"), "ingest").get("source"))
    md5 = _outs(Path(f"{said}.dvc")).get(said, "")
    if md5 and not _object(_cache(), md5).exists() and _digest(Path(said)) == md5:
        repo.commit(f"{said}.dvc", force=True)


def _fetch_made() -> None:
    """What is in no remote is no error: it is made again."""
    from dvc.config import NoRemoteError

    what = "what the pipeline made could not be fetched"
    with storage.dvc_repository(what) as repo, contextlib.suppress(NoRemoteError):
        # Whoever may push data could write what a stage gave: CI takes no such word for it.
        repo.fetch(run_cache=not os.environ.get("BASE_REF"))


def _pull(said: str, md5: str) -> Path:
    """Pull the source and return the cache that it went through."""
    from dvc.config import NoRemoteError
    from dvc.exceptions import CheckoutError

    with storage.dvc_repository(f"{said} could not be fetched") as repo:
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
                f"{said} is not here and no DVC remote is set: put the file in its place, or name "
                "the remote with `dvc remote add --default`"
            ) from None
        except FileNotFoundError as error:
            cause = error.__cause__ or error
            if not isinstance(cause, FileNotFoundError) and getattr(cause, "status", 0) != 404:
                raise
            raise Stop(
                f"{said} is in no cache or remote, data not pushed: run `dvc push` (`make push`) "
                f"where {said}.dvc was committed"
            ) from None
        return Path(repo.cache.local.path)


def _refuse_damaged(cache: Path, file: Path, md5: str) -> None:
    """Stop where the cache holds other bytes than recorded, once they are gone from the cache and
    from the work tree, so that the next run fetches or makes them again.
    """
    found = _digest(_object(cache, md5))
    if found in (None, md5.removesuffix(".dir")):
        return
    _object(cache, md5).unlink()
    if _digest(file) == md5:
        say(f"data: DVC's cache held a damaged copy of {file}, which was removed")
        return
    if _digest(file) == found:
        file.unlink()
    raise Stop(
        f"{file} is damaged, its digest is {found} and not {md5} as recorded: the damaged copy was "
        "removed, run the same again to fetch or make it afresh"
    )


def _digest(file: Path) -> str | None:
    """The MD5 digest as DVC records it; None where no file is."""
    if not file.is_file():
        return None
    with file.open("rb") as content:
        made = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False))
    return made.hexdigest()


def _object(cache: Path, md5: str) -> Path:
    return cache / md5[:2] / md5[2:]


def _cache() -> Path:
    folder = storage.config().get("cache", "dir", fallback="cache")
    return Path(".dvc") / folder / "files" / "md5"


def _outs(path: Path) -> dict[str, str]:
    """Path -> MD5 of the files and folders that a pointer or ``dvc.lock`` records."""
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        stages = [content, *(content.get("stages") or {}).values()]
        folder = path.parent
        return {
            str(folder / out["path"]): out["md5"]
            for stage in stages
            for out in stage.get("outs") or []
            if "md5" in out
        }
    except FileNotFoundError:
        return {}
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError):
        raise Stop(f"{path} is damaged: restore it with `git checkout {path}`") from None


def _files(cache: Path, path: Path, md5: str) -> Iterator[tuple[Path, str]]:
    """(file, MD5) of an output: the file itself, or the list of a folder and all that it lists."""
    yield path, md5
    if md5.endswith(".dir") and (listed := _object(cache, md5)).is_file():
        for entry in json.loads(listed.read_text(encoding="utf-8")):
            yield path / entry["relpath"], entry["md5"]
