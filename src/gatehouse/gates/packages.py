"""Packages of one's own: verb ``add``, and whether what serves holds what a model needs."""

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

from gatehouse.core.config.results import Parity, read_result
from gatehouse.core.console import say
from gatehouse.core.digests import MODEL
from gatehouse.core.environments import LOCKS, WANTED, lock_text, own_packages, skops_part
from gatehouse.core.errors import GOOD, Stop
from gatehouse.core.files import write_text
from gatehouse.core.findings import Finding
from gatehouse.core.layout import PARITY
from gatehouse.core.project import Project


def add(project: Project, asked: str) -> int:
    """Write a requirement into ``train.in``, and compile the locks; a skops model serves with it.

    All files are as before where there is no such package, or none that fits the others.
    """
    try:
        wanted = Requirement(asked)
    except InvalidRequirement:
        raise Stop(
            "requirement-form",
            f"{asked!r} is no requirement: write it as lightgbm or lightgbm>=4.6",
        ) from None
    if wanted.url:
        raise Stop(
            "requirement-no-hash",
            f"{wanted.name} is asked for by its address, which has no hash: name it alone",
        )
    name = canonicalize_name(wanted.name)
    before = {
        path: path.read_text(encoding="utf-8") for path in (project / LOCKS).glob("*.[it][nx]*")
    }
    if name in own_packages():
        raise Stop(
            "requirement-there",
            f"{wanted.name} is in {WANTED} already: edit it there, then `gatehouse lock`",
        )
    write_text(project / WANTED, before[(project / WANTED)].rstrip("\n") + f"\n{wanted}\n")
    say(f"add: compiling the locks with {wanted}")
    command = [sys.executable, "-P", "-m", "gatehouse.cli", "lock"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=project.root)
    if done.returncode:
        for path, text in before.items():
            write_text(path, text)
        why = " ".join(line.strip() for line in done.stderr.splitlines())[:300] or "no message"
        raise Stop("requirement-refused", f"{wanted} was not added, and all is as before: {why}")
    here = locked(lock_text("train")).get(name, "")
    say(f"add: {wanted.name} {here} trains now, and serves as skops: commit {LOCKS}/")
    return GOOD


def served(project: Project) -> list[Finding]:
    """A finding for each package that the model's file needs and what serves has not."""
    form = read_result(project / PARITY, Parity).format
    if form == "onnx":
        there, needed = locked(lock_text("serve")), dict(_made_with(["onnxruntime", "numpy"]))
    else:
        there = locked(lock_text("serve")) | locked(skops_part())
        needed = dict(_needed(project, project / MODEL / "model.skops"))
    file, findings = project / MODEL / f"model.{form}", []
    for name, made_with in needed.items():
        if there.get(name) == made_with:
            continue
        if name in there:
            message = f"{file} needs {name} {made_with}, and serving has another version"
            fix = "Run `gatehouse lock`, then `make setup pipeline`."
        else:
            message = f"{file} needs {name} {made_with}, which serving lacks"
            fix = f"Run `gatehouse add {name}`, then `make pipeline`."
        value = f"{name} {there.get(name, 'missing')}"
        findings.append(
            Finding(f"serving: {name}", "fail", message, fix, value, f"{name} {made_with}")
        )
    said = f"serving has the {len(needed)} packages that {file} needs, in their versions"
    return findings or [Finding("serving", "pass", said, "", len(needed), len(needed))]


def locked(lock: str) -> dict[str, str]:
    """Package -> version of a lock's lines, as far as they are for this Python and platform."""
    found: dict[str, str] = {}
    for line in lock.splitlines():
        if line[:1].isalnum():
            pin = Requirement(line.rstrip(" \\"))
            if pin.marker is None or pin.marker.evaluate():
                found[canonicalize_name(pin.name)] = str(pin.specifier).removeprefix("==")
    return found


def _needed(project: Project, file: Path) -> Iterator[tuple[str, str]]:
    """The packages that a skops file names types of, and skops itself, which reads it."""
    named: set[str] = set()

    def see(node: dict[str, Any]) -> None:
        if isinstance(name := node.get("__module__"), str):
            named.add(name)

    try:
        with zipfile.ZipFile(file) as archive:
            json.loads(archive.read("schema.json"), object_hook=see)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        raise Stop("file-damaged", f"{file} is missing or damaged: run `make pipeline`") from None
    modules = {name.partition(".")[0] for name in named} - sys.stdlib_module_names
    ours = (
        {path.name for path in (project / "src").iterdir()} if (project / "src").is_dir() else set()
    )
    known = packages_distributions()
    from_ = {name: known.get(name, [name]) for name in modules - ours}
    yield from _made_with(["skops", *(n if n in of else of[0] for n, of in from_.items())])


def _made_with(names: list[str]) -> Iterator[tuple[str, str]]:
    for name in sorted(set(names)):
        try:
            yield canonicalize_name(name), version(name)
        except PackageNotFoundError:
            yield canonicalize_name(name), "of an unknown version"
