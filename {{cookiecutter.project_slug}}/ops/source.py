"""Verb ``data``: fetch the source, and refuse files that are not what was recorded.

DVC trusts what it finds in its cache or downloads: a changed byte would be trained on. So what the
cache holds of this commit is held against its digests before anything is made from it.
"""

import configparser
import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from .console import GOOD, INFRASTRUCTURE, Stop, read_section, say

FETCH = Path("data/fetch.py")
TRIES = 3


def fetch_source() -> int:
    """Put the source in its place if it is not there; a source that is there is yours."""
    said = read_section(Path("params.yaml"), "ingest").get("source")
    if not isinstance(said, str):
        raise Stop("params.yaml names no ingest.source: say where the table lies")
    source, cache = Path(said), _cache()
    recorded = _outs(Path(f"{said}.dvc")) | _outs(Path("dvc.lock"))
    for path, md5 in recorded.items():
        for file, digest in _files(cache, Path(path), md5):
            _refuse_damaged(cache, file, digest)
    if source.exists():
        return GOOD
    if FETCH.exists():
        return subprocess.run([sys.executable, str(FETCH)], check=False).returncode
    if str(source) not in recorded:
        raise Stop(f"{said} is neither here nor in a DVC remote: put the file in its place")
    md5 = recorded[str(source)]
    _refuse_damaged(_pull(str(source), md5), source, md5)
    return GOOD


def _pull(said: str, md5: str) -> Path:
    """By DVC, in this process: its progress stays visible and its errors have names.

    Returns the cache that it went through.
    """
    from dvc.config import ConfigError, NoRemoteError
    from dvc.exceptions import CheckoutError
    from dvc.repo import Repo

    for name in ("dvc", "dvc_data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    pause = float(os.environ.get("RETRY_SECONDS", "1"))
    failed = 0
    while True:
        try:
            with Repo() as repo:
                try:
                    repo.pull(targets=[f"{said}.dvc"])
                    return Path(repo.cache.local.path)
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
        except (ConfigError, ImportError) as error:
            raise Stop(
                f"{_said(error)}: correct the DVC remote in .dvc/config, or add what it needs to "
                "requirements/train.in"
            ) from None
        except Exception as error:  # each kind of remote has errors of its own
            cause = error.__cause__ or error
            absent = isinstance(cause, FileNotFoundError) or getattr(cause, "status", 0) == 404
            if isinstance(error, FileNotFoundError) and absent:
                raise Stop(
                    f"{said} is in no cache or remote, data not pushed: run `dvc push` where "
                    f"{said}.dvc was committed"
                ) from None
            reason = f"{said} could not be fetched ({_said(cause)})"
            failed += 1
            if failed == TRIES:
                raise Stop(
                    f"{reason}, {TRIES} tries failed: see that the DVC remote can be reached",
                    INFRASTRUCTURE,
                ) from None
            say(f"data: {reason}, trying again in {pause:g} s")
        time.sleep(pause)
        pause *= 3


def _said(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


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
    config = configparser.ConfigParser(interpolation=None)
    config.read([".dvc/config", ".dvc/config.local"])
    return Path(".dvc") / config.get("cache", "dir", fallback="cache") / "files" / "md5"


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
