"""The environments of a project, made by uv from its locks, and anew when a lock changes.

``.venv`` trains and holds the tools, ``.venv-checks`` has what Deepchecks needs, ``.venv-serve``
what answers predictions. Standard library alone, on any Python from 3.9 on: this makes the first
environment. Parts that few need (``files/locks``) come on top of one.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .console import say
from .errors import INFRASTRUCTURE, Stop

FOLDERS = {"train": Path(".venv"), "checks": Path(".venv-checks"), "serve": Path(".venv-serve")}
LOCKS = Path("requirements")
WANTED = LOCKS / "train.in"
LIBRARY = "gatehouse-ml"
VENDOR = Path("vendor")
VERSION = Path(".python-version")
CHECKS_PYTHON = ">=3.11,<3.13"
STAMP = "gatehouse"  # in the environment: what it was made of
OWN_UV = Path(".uv")
SKOPS = ("pandas", "scikit-learn", "skops")  # what reads a model that has no ONNX form


def python(name: str) -> Path:
    """The interpreter of an environment, whether it is there or not."""
    place = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    return FOLDERS[name] / place


def ready(name: str) -> bool:
    """Whether the environment is there and made of the locks as they are now."""
    return _stamp(name, "lock") == _digest(lock_text(name), _version(name)) and not _missing(name)


def ensure(name: str, *parts: str) -> Path:
    """The interpreter of the environment, which is made where it is missing or old.

    ``parts``: what shall be there besides, ``skops`` or a file of ``files/locks``. Raises ``Stop``.
    """
    _refuse_brought()
    lock, version = lock_text(name), _version(name)
    if _stamp(name, "lock") != _digest(lock, version):
        _make(name, lock, version)
    for part in dict.fromkeys([*_always(name), *parts]):
        _add(name, part)
    return python(name)


def steady() -> dict[str, str]:
    """Variables by which no file of the folder steers a Python or uv that is started.

    A person's own settings of uv stay, an index among them. pip reads nothing of the folder.
    """
    folders = [os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "/etc"]
    folders += [os.environ[name] for name in ("APPDATA", "PROGRAMDATA") if name in os.environ]
    own = (str(path) for folder in folders if (path := Path(folder, "uv/uv.toml")).is_file())
    if file := os.environ.get("UV_CONFIG_FILE") or next(own, ""):
        return {"PYTHONSAFEPATH": "1", "UV_CONFIG_FILE": file}
    return {"PYTHONSAFEPATH": "1", "UV_NO_CONFIG": "1"}


def skops_part() -> str:
    """Requirement lines for a model that serves as skops: of train.txt, less what serve.txt has.

    So scikit-learn is the one that made the model, and the user's own packages are there.
    """
    here = blocks(lock_text("serve"))
    there = blocks(lock_text("train"))
    wanted = _closure(there, (*SKOPS, *own_packages()))
    return "".join(there[name] for name in there if name in wanted and name not in here)


def own_packages() -> list[str]:
    """The packages that the user's train.in asks for beyond the library."""
    text = WANTED.read_text(encoding="utf-8") if WANTED.exists() else ""
    named = re.findall(r"(?m)^[A-Za-z0-9][A-Za-z0-9._-]*", text)
    return [name for name in map(_canonical, named) if name != LIBRARY]


def blocks(lock: str) -> dict[str, str]:
    """Package -> its lines in a lock of uv, hashes and origins among them."""
    found: dict[str, str] = {}
    for block in re.split(r"(?m)^(?=[A-Za-z0-9])", lock):
        if match := re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", block):
            name = _canonical(match[0])
            found[name] = found.get(name, "") + block
    return found


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _closure(lock: dict[str, str], names: tuple[str, ...]) -> set[str]:
    """The packages and what they need, by the ``# via`` that uv writes below each."""
    needs: dict[str, set[str]] = {}
    for name, lines in lock.items():
        _, via, origins = lines.partition("# via")
        for origin in re.findall(r"[A-Za-z0-9][A-Za-z0-9._-]*", origins if via else ""):
            needs.setdefault(origin.lower(), set()).add(name)
    found: set[str] = set()
    rest = list(names)
    while rest:
        name = rest.pop()
        if name not in found:
            found.add(name)
            rest += needs.get(name, ())
    return found


def _always(name: str) -> list[str]:
    """Parts that the project asks for: DVC's plug-in of its data remote."""
    if name != "train":
        return []
    config = Path(".dvc/config")
    text = config.read_text(encoding="utf-8") if config.exists() else ""
    kinds = re.findall(r"(?m)^\s*url\s*=\s*(s3|gs|azure|ssh)://", text)
    return list(dict.fromkeys(kinds))


def _missing(name: str) -> list[str]:
    return [part for part in _always(name) if _stamp(name, part) != _digest(_part(part))]


def _part(part: str) -> str:
    if part == "skops":
        return skops_part()
    from importlib.resources import files

    own = LOCKS / f"{part}.txt"
    shipped = files("gatehouse") / "files" / "locks" / f"{part}.txt"
    return own.read_text("utf-8") if own.exists() else shipped.read_text("utf-8")


def _add(name: str, part: str) -> None:
    lines = _part(part)
    if _stamp(name, part) == _digest(lines):
        return
    say(f"{FOLDERS[name]}: installing {len(blocks(lines))} locked packages for {part}")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{part}.txt"
        file.write_text(lines, encoding="utf-8")
        _uv(
            "pip", "install", "--python", str(FOLDERS[name]), "--no-deps", *_HASHES, "-r", str(file)
        )
    _mark(name, part, _digest(lines))


_HASHES = ("--quiet", "--require-hashes")


def _make(name: str, lock: str, version: str) -> None:
    folder = FOLDERS[name]
    say(f"{folder}: installing {len(blocks(lock))} locked packages")
    running = Path(sys.prefix).resolve() == folder.resolve()
    if not running:  # who stands in it cannot take it away
        try:
            _uv("venv", "--quiet", "--clear", "--python", version, str(folder))
        except Stop as error:
            raise Stop(
                "python-missing",
                f"no Python {version} is here or can be fetched ({error}): install it, or write "
                f"another into {VERSION}",
                INFRASTRUCTURE,
            ) from None
    # The library keeps its version while it is worked on; its hash says which one it is.
    again = ("--reinstall-package", "gatehouse-ml") if running else ()
    file = str(LOCKS / f"{name}.txt")
    _uv("pip", "sync", "--python", str(folder), *again, *_HASHES, file)
    for old in folder.glob(f".{STAMP}-*"):
        old.unlink()
    _mark(name, "lock", _digest(lock, version))


def _refuse_brought() -> None:
    """What a commit brings in place of what is made here would be run in its place."""
    command = ["git", "ls-files", "--", *map(str, FOLDERS.values()), str(OWN_UV)]
    try:
        brought = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:  # no git, so no commit
        return
    if brought:
        name = brought.partition("/")[0].partition("\n")[0]
        raise Stop(
            "environment-brought",
            f"{name} is in git, and must be made from the lock: `git rm -r --cached {name}`",
        )


def _uv(*words: str) -> None:
    """uv, of which nothing but its own command line decides; raises ``Stop``."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    if VENDOR.is_dir():
        kept["UV_FIND_LINKS"] = str(VENDOR.resolve())
    kept |= steady()
    kept["PATH"] = os.pathsep.join([kept.get("PATH", ""), *_pyenv()])
    done = subprocess.run(
        [uv(), *words], env=kept, stderr=subprocess.PIPE, encoding="utf-8", check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise Stop(
            "uv-failed",
            f"uv {words[0]} failed ({' '.join(lines[-1].split())}): see that the index is reached",
            INFRASTRUCTURE,
        )


def uv() -> str:
    """The program ``uv``: the person's own, or else the locked one in ``.uv/``, which is made."""
    # Not the one in an environment of the project, which goes when that is made anew.
    own = {
        str((folder / place).resolve())
        for folder in FOLDERS.values()
        for place in ("bin", "Scripts")
    }
    path = [
        p for p in os.environ.get("PATH", "").split(os.pathsep) if str(Path(p).resolve()) not in own
    ]
    if found := shutil.which("uv", path=os.pathsep.join(path)):
        return found
    program = OWN_UV / ("Scripts/uv.exe" if os.name == "nt" else "bin/uv")
    lines = blocks(lock_text("train")).get("uv", "")
    stamp = OWN_UV / f".{STAMP}"
    if program.exists() and stamp.exists() and stamp.read_text("utf-8") == _digest(lines):
        return str(program)
    say(f"{OWN_UV}: installing uv")
    subprocess.run([sys.executable, "-I", "-m", "venv", "--clear", str(OWN_UV)], check=True)
    needs = OWN_UV / "uv.txt"
    needs.write_text(lines, encoding="utf-8")
    pip = [str(program.with_name("python")), "-I", "-m", "pip", "install", "--quiet"]
    pip += ["--disable-pip-version-check", "--require-hashes", "-r", str(needs)]
    if subprocess.run(pip, check=False).returncode:
        raise Stop(
            "uv-missing",
            "uv could not be installed: install it yourself, or reach an index",
            INFRASTRUCTURE,
        )
    stamp.write_text(_digest(lines), encoding="utf-8")
    return str(program)


def _pyenv() -> list[str]:
    """Pythons that pyenv has installed but not switched on."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    return [str(folder) for folder in sorted(root.glob("versions/*/bin"))]


def lock_text(name: str) -> str:
    """The lock of an environment; raises ``Stop`` where it is not there."""
    path = LOCKS / f"{name}.txt"
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Stop(
            "lock-missing", f"{path} is not there: restore it with `git checkout {path}`"
        ) from None


def _version(name: str) -> str:
    if name == "checks":
        return CHECKS_PYTHON
    return VERSION.read_text(encoding="utf-8").strip() if VERSION.exists() else "3.11"


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _stamp(name: str, part: str) -> str | None:
    path = FOLDERS[name] / f".{STAMP}-{part}"
    return path.read_text("utf-8") if path.exists() and python(name).exists() else None


def _mark(name: str, part: str, digest: str) -> None:
    (FOLDERS[name] / f".{STAMP}-{part}").write_text(digest, encoding="utf-8")
