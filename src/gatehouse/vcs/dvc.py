"""What DVC recorded, what its cache holds, and what it brings."""

import configparser
import hashlib
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gatehouse.core.errors import INFRASTRUCTURE, Stop
from gatehouse.core.files import read_section
from gatehouse.core.project import Project

from .git import git, have

FILES, LOCK = Path("files", "md5"), Path("dvc.lock")  # the former below a cache or a remote
# DVC sees none of these.
PASSED = {".git", ".dvc", ".dvc-storage", ".mlflow", ".uv", ".venv", ".venv-checks", ".venv-serve"}
Damage = (AttributeError, KeyError, TypeError, ValueError)  # what YAML of another form raises


def outs(lock: str) -> dict[str, str]:
    """Path -> md5 of what the stages of a ``dvc.lock`` made; empty where it cannot be read.

    A path of which two stages say something else is left out: DVC would take one of them.
    """
    try:
        said = [(out["path"], out["md5"]) for out in _entries(lock, "outs")]
        return {path: md5 for path, md5 in said if all(md5 == m for p, m in said if p == path)}
    except Damage:
        return {}


def made(project: Project, where: str) -> dict[str, str]:
    """The same of the lock that a commit or tree has; empty where it has none."""
    return outs(git(project, "show", f"{where}:./{LOCK}") or "")


def tracked(texts: dict[str, str]) -> dict[str, str]:
    """Path -> MD5 of what the ``*.dvc`` files (path -> text) point at; Stop for a damaged one."""
    found = {}
    for path, text in texts.items():
        with _undamaged(path):
            for out in _entries(text, "outs"):
                found[(Path(path).parent / out["path"]).as_posix()] = str(out["md5"])
    return found


def used(lock: str, paths: dict[str, str]) -> dict[str, str]:
    """Path -> MD5 of those ``paths`` that the stages of a ``dvc.lock`` have read."""
    try:
        deps = _entries(lock, "deps")
        return {dep["path"]: dep["md5"] for dep in deps if dep["path"] in paths and "md5" in dep}
    except Damage:
        return {}


def dvc_get(project: Project, path: str, made_by: str, out: Path) -> None:
    """What a commit recorded under ``path``, from the cache or the remote; Stop (3) without it."""
    have(project, made_by)
    command = ["-P", "-m", "dvc", "get", "--quiet", ".", path, "--rev", made_by, "--out", str(out)]
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, cwd=project.root
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Stop(
            "data-not-pushed",
            f"{path} of {made_by[:9]} is in no cache or remote ({last}): run `dvc push` where it "
            "was made, or `dvc fetch --all-commits` here",
            INFRASTRUCTURE,
        )


def alone(project: Project) -> None:
    """Raise ``Stop`` where DVC would find more than the one pipeline and pointers at data.

    It reads what is called ``dvc.yaml`` or ``*.dvc`` in any folder, and runs their commands when
    something that the pipeline reads is said to come from them.
    """
    pointers = []
    for folder, folders, names in os.walk(project.root):
        here = Path(folder).relative_to(project.root)
        folders[:] = [name for name in folders if name not in PASSED]
        for name in sorted(names):
            if name == "dvc.yaml" and here != Path():
                raise Stop(
                    "pipeline-elsewhere",
                    f"{here / name} is a second pipeline, which DVC would run: put its stages into "
                    "dvc.yaml",
                )
            if name.endswith(".dvc") and (file := Path(folder, name)).is_file():
                found = pointed((here / name).as_posix(), file.read_bytes())
                pointers += [(here / name, here / out) for out in found]
    asked = ["--literal-pathspecs", "ls-files", "-z", "--", *(str(out) for _, out in pointers)]
    kept = [Path(name) for name in (git(project, *asked) or "" if pointers else "").split("\0")]
    for pointer, out in pointers:
        parent = (project / pointer).parent.resolve()
        inside = parent in (project / out).resolve().parents
        if not inside or any(out in (name, *name.parents) for name in kept):
            raise Stop(
                "pointer-elsewhere",
                f"{pointer} points at {out}, a file of git or behind a link: it may point at data "
                "beside it",
            )


def pointed(path: str, content: bytes) -> list[str]:
    """What a pointer stands for, beside it; ``Stop`` where it is more than a pointer."""
    with _undamaged(path):
        said: Any = _yaml(content.decode("utf-8")) or {}
        outs = [str(out["path"]) for out in said.get("outs") or []]
        more = sorted(set(said) - {"outs", "deps", "md5", "frozen", "meta", "desc"})
    if said.get("deps") and said.get("frozen") is not True:
        more.append("deps")  # DVC would fetch other data than those of the digest
    if more:
        raise Stop(
            "pointer-command",
            f"{path} has {', '.join(map(str, more))}: a pointer names data alone, and what runs "
            "stands in dvc.yaml",
        )
    for out in outs:
        if {"", ".", ".."} & set(re.split(r"[/\\]", out)) or ":" in out:
            raise Stop(
                "pointer-elsewhere",
                f"{path} points at {out}, a place elsewhere: it may point at data beside it",
            )
    return outs


def address(project: Project, *, shared: bool = False) -> str:
    """The URL of the default remote, "" without one; ``shared``: what git has says it alone."""
    said = config(project, shared=shared)
    section = f"'remote \"{said.get('core', 'remote', fallback='')}\"'"
    return said.get(section, "url", fallback="")


def config(project: Project, *, shared: bool = False) -> configparser.ConfigParser:
    """What .dvc/config says, and .dvc/config.local unless ``shared``."""
    read = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        files = [project / ".dvc/config", *([] if shared else [project / ".dvc/config.local"])]
        read.read(files, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        raise Stop("dvc-config", ".dvc/config cannot be read: `git checkout .dvc/config`") from None
    return read


@contextmanager
def repository(project: Project, what: str) -> Iterator[Any]:
    """DVC in this process: its progress stays visible, and its errors become sentences."""
    from dvc.config import ConfigError
    from dvc.repo import Repo

    for name in ("dvc", "dvc_data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with Repo(str(project.root)) as repo:
            yield repo
    except Stop:
        raise
    except (ConfigError, ImportError) as error:
        raise Stop(
            "dvc-config",
            f"{_line(str(error))}: correct the DVC remote in .dvc/config, or add what it needs to "
            "requirements/train.in",
        ) from None
    except Exception as error:  # each kind of remote has errors of its own
        cause = error.__cause__ or error
        reason = _line(str(cause)) or type(cause).__name__
        raise Stop("dvc-failed", f"{what} ({reason})", INFRASTRUCTURE) from None


def recorded(project: Project, path: Path) -> dict[str, str]:
    """Path -> MD5 of the files and folders that a pointer or ``dvc.lock`` records."""
    if not (project / path).exists():
        return {}
    with _undamaged(str(path)):
        listed = _entries((project / path).read_text(encoding="utf-8"), "outs")
        return {str(path.parent / out["path"]): out["md5"] for out in listed if "md5" in out}


def cache(project: Project) -> Path:
    """Where the cache has its files, by digest."""
    folder = config(project).get("cache", "dir", fallback="cache")
    return project / ".dvc" / folder / FILES


def cached(cache: Path, md5: str) -> Path:
    """Where a cache has what is of this digest."""
    return cache / md5[:2] / md5[2:]


def md5_of(file: Path) -> str | None:
    """The MD5 digest of a file or folder as DVC records it; None where there is neither."""
    if file.is_dir():
        names = sorted(
            path.relative_to(file).as_posix() for path in file.rglob("*") if path.is_file()
        )
        listed = json.dumps([{"md5": md5_of(file / name), "relpath": name} for name in names])
        return hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest() + ".dir"
    if not file.is_file():
        return None
    with file.open("rb") as content:
        made = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False))
    return made.hexdigest()


def send(project: Project, names: list[str]) -> None:
    """Push objects of these digests, and the run cache, from the cache to the remote."""
    with repository(project, "the data could not be pushed") as repo:
        from dvc_data.hashfile.hash_info import HashInfo

        repo.cloud.push([HashInfo("md5", name) for name in names])
        repo.stage_cache.push(None)


def keep_source(project: Project, repo: Any) -> None:
    """Put the source into the cache as recorded, where no pipeline has done so yet."""
    said = str(read_section(project / "params.yaml", "ingest").get("source"))
    md5 = recorded(project, Path(f"{said}.dvc")).get(said, "")
    if md5 and not cached(cache(project), md5).exists() and md5_of(Path(said)) == md5:
        repo.commit(f"{said}.dvc", force=True)


@contextmanager
def _undamaged(path: str) -> Iterator[None]:
    try:
        yield
    except Damage:
        raise Stop(
            "file-damaged", f"{path} is damaged: restore it with `git checkout {path}`"
        ) from None


def _entries(text: str, kind: str) -> list[dict[str, Any]]:
    """The ``outs`` or ``deps`` of a pointer, or of all stages of a ``dvc.lock``."""
    said: Any = _yaml(text) or {}
    stages = [said, *(said.get("stages") or {}).values()]
    return [entry for stage in stages for entry in stage.get(kind) or []]


def _line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0]


def _yaml(text: str) -> Any:
    """What stands in a file of DVC; ValueError where it is no YAML."""
    import yaml  # late: what runs without an environment imports this module, too

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError from None
