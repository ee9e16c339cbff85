"""Packages of one's own: verb ``add``, and whether the serving lock holds what a model needs."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from .console import GOOD, Stop, read_json, say, write_text
from .digests import MODEL
from .findings import Finding

FOLDER = Path("requirements")
# A model that serves as ONNX needs no more than onnxruntime, whatever made it.
ADDED_TO = ("serve-skops", "train")
LOCKS = {"onnx": FOLDER / "serve.txt", "skops": FOLDER / "serve-skops.txt"}
HEAD = "\n# packages of this project, by `make add`\n"


def add(asked: str) -> int:
    """Write a requirement into the .in files that train and serve, and compile the locks.

    All files are as before where there is no such package, or none that fits the others.
    """
    try:
        wanted = Requirement(asked)
    except InvalidRequirement:
        raise Stop(f"{asked!r} is no requirement: write it as lightgbm or lightgbm>=4.6") from None
    if wanted.url:
        raise Stop(f"{wanted.name} is asked for by its address, which has no hash: name it alone")
    before = {path: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.[it][nx]*")}
    sources = [FOLDER / f"{name}.in" for name in ADDED_TO]
    for path in sources:
        if canonicalize_name(wanted.name) not in _named(before[path]):
            head = "" if HEAD in before[path] else HEAD
            write_text(path, before[path].rstrip("\n") + f"\n{head}{wanted}\n")
    if all(path.read_text(encoding="utf-8") == before[path] for path in sources):
        files = " and ".join(map(str, sources))
        raise Stop(f"{wanted.name} is in {files} already: edit it there, then `make lock`")
    say(f"add: compiling the locks with {wanted}")
    done = subprocess.run(["make", "lock"], capture_output=True, text=True, check=False)
    if done.returncode:
        for path, text in before.items():
            write_text(path, text)
        lines = [line.strip() for line in done.stderr.splitlines() if "make" not in line]
        why = " ".join(lines)[:300] or "no message"
        raise Stop(f"{wanted} was not added, and all is as before: {why}")
    here = locked(LOCKS["skops"]).get(canonicalize_name(wanted.name), "")
    say(f"add: {wanted.name} {here} is in the locks that train and serve: commit requirements/")
    return GOOD


def served() -> list[Finding]:
    """A finding for each package that the model's file needs and the lock that serves has not."""
    form = read_json(Path("predictions/parity.json")).get("format")
    if form not in LOCKS:
        raise Stop("predictions/parity.json names no known format: run `make pipeline`")
    file, lock = MODEL / f"model.{form}", LOCKS[form]
    there = locked(lock)
    needed = dict(_needed(file) if form == "skops" else _made_with(["onnxruntime", "numpy"]))
    findings = []
    for name, made_with in needed.items():
        if there.get(name) == made_with:
            continue
        if name in there:
            message = f"{file} needs {name} {made_with}, and {lock} has another version"
            fix = "Run `make lock`, then `make setup pipeline`."
        else:
            message = f"{file} needs {name} {made_with}, which {lock} lacks"
            fix = f"Run `make add PACKAGE={name}`, then `make pipeline`."
        value = f"{name} {there.get(name, 'missing')}"
        findings.append(
            Finding(f"serving: {name}", "fail", message, fix, value, f"{name} {made_with}")
        )
    said = f"{lock} holds the {len(needed)} packages that {file} needs, in their versions"
    return findings or [Finding("serving", "pass", said, "", len(needed), len(needed))]


def locked(lock: Path) -> dict[str, str]:
    """Package -> version of a lock, as far as it is for this Python and platform."""
    try:
        lines = lock.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise Stop(f"{lock} is not there: restore it with `git checkout {lock}`") from None
    found: dict[str, str] = {}
    for line in lines:
        if line[:1].isalnum():
            pin = Requirement(line.rstrip(" \\"))
            if pin.marker is None or pin.marker.evaluate():
                found[canonicalize_name(pin.name)] = str(pin.specifier).removeprefix("==")
    return found


def _named(text: str) -> set[str]:
    """The packages that a .in file asks for."""
    lines = (line.partition(" #")[0].strip() for line in text.splitlines())
    return {canonicalize_name(Requirement(line).name) for line in lines if line[:1].isalnum()}


def _needed(file: Path) -> Iterator[tuple[str, str]]:
    """The packages that a skops file names types of, and skops itself, which reads it."""
    try:
        with zipfile.ZipFile(file) as archive:
            tree = json.loads(archive.read("schema.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        raise Stop(f"{file} is missing or damaged: run `make pipeline`") from None
    modules = {name.partition(".")[0] for name in _modules(tree)} - sys.stdlib_module_names
    ours = {path.name for path in Path("src").iterdir()} if Path("src").is_dir() else set()
    known = packages_distributions()
    from_ = {name: known.get(name, [name]) for name in modules - ours}
    yield from _made_with(["skops", *(n if n in of else of[0] for n, of in from_.items())])


def _modules(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(name := node.get("__module__"), str):
            yield name
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from _modules(child)


def _made_with(names: list[str]) -> Iterator[tuple[str, str]]:
    for name in sorted(set(names)):
        try:
            yield canonicalize_name(name), version(name)
        except PackageNotFoundError:
            yield canonicalize_name(name), "of an unknown version"
