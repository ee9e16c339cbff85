"""The wheel of the library: the same sources give the same bytes, on every machine and Python.

The generation hook calls ``build`` while a project is made, and build front ends (``uv build``,
``python -m build``) the backend functions below, so both write the same file. Nothing is
compressed: what zlib makes of the same bytes differs from one build of it to the next. Standard
library alone, on any Python from 3.9 on; ``python scripts/build_wheel.py`` writes the metadata of
``pyproject.toml`` into ``src/gatehouse_ml.dist-info``, which needs 3.11; with a folder, the wheel.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import sys
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SOURCES = os.path.join(ROOT, "src")
INFO = "gatehouse_ml.dist-info"
TIME = (1980, 1, 1, 0, 0, 0)  # the oldest that a zip can hold
TAG = "py3-none-any"
WHEEL = f"Wheel-Version: 1.0\nGenerator: gatehouse\nRoot-Is-Purelib: true\nTag: {TAG}\n"


def build() -> tuple[str, bytes]:
    """The wheel's file name and its bytes."""
    with open(os.path.join(SOURCES, INFO, "METADATA"), encoding="utf-8") as file:
        version = next(line[9:].strip() for line in file if line.startswith("Version: "))
    info = f"gatehouse_ml-{version}.dist-info"
    files = {name: _read(os.path.join(SOURCES, name)) for name in _sources("gatehouse")}
    for name in ("METADATA", "entry_points.txt"):
        files[f"{info}/{name}"] = _read(os.path.join(SOURCES, INFO, name))
    files[f"{info}/licenses/LICENSE"] = _read(os.path.join(ROOT, "LICENSE"))
    files[f"{info}/WHEEL"] = WHEEL.encode()
    record = [f"{name},sha256={_hash(files[name])},{len(files[name])}\n" for name in files]
    files[f"{info}/RECORD"] = "".join([*record, f"{info}/RECORD,,\n"]).encode()
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_STORED) as wheel:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, TIME)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            wheel.writestr(entry, content)
    return f"gatehouse_ml-{version}-{TAG}.whl", held.getvalue()


def _sources(top: str) -> list[str]:
    found = []
    for folder, folders, names in os.walk(os.path.join(SOURCES, top)):
        folders[:] = [name for name in folders if name != "__pycache__"]
        way = os.path.relpath(folder, SOURCES).replace(os.sep, "/")
        found += [
            f"{way}/{name}" for name in names if not name.endswith((".pyc", "~", ".DS_Store"))
        ]
    return sorted(found)


def _read(path: str) -> bytes:
    """A file as git stores it: a checkout may have given its lines other ends."""
    with open(path, "rb") as file:
        return file.read().replace(b"\r\n", b"\n")


def _hash(content: bytes) -> str:
    digest = hashlib.sha256(content).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


# --- what build front ends call (PEP 517) ------------------------------------------------------


def build_wheel(
    wheel_directory: str, config_settings: object = None, metadata_directory: str | None = None
) -> str:
    """Write the wheel; returns its file name."""
    name, content = build()
    with open(os.path.join(wheel_directory, name), "wb") as file:
        file.write(content)
    return name


# --- the metadata ------------------------------------------------------------------------------


def metadata() -> dict[str, str]:
    """``METADATA`` and ``entry_points.txt``, as ``pyproject.toml`` says."""
    import tomllib

    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        project = tomllib.load(file)["project"]
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {project['name']}",
        f"Version: {project['version']}",
        f"Summary: {project['description']}",
        f"License-Expression: {project['license']}",
        "License-File: LICENSE",
        f"Requires-Python: {project['requires-python']}",
        *(f"Classifier: {one}" for one in project["classifiers"]),
        *(f"Requires-Dist: {need}" for need in project["dependencies"]),
    ]
    for extra, needs in project["optional-dependencies"].items():
        lines.append(f"Provides-Extra: {extra}")
        for need in needs:
            what, _, marker = need.partition(";")
            also = f"({marker.strip()}) and " if marker else ""
            lines.append(f"Requires-Dist: {what.strip()} ; {also}extra == '{extra}'")
    scripts = [f"{name} = {place}" for name, place in project["scripts"].items()]
    return {
        "METADATA": "\n".join(lines) + "\n",
        "entry_points.txt": "\n".join(["[console_scripts]", *scripts]) + "\n",
    }


def main(words: list[str]) -> int:
    """Without words, write the metadata; else ``OUT [TAG]``: the wheel, if it is of that tag."""
    if not words:
        os.makedirs(os.path.join(SOURCES, INFO), exist_ok=True)
        for name, text in metadata().items():
            path = os.path.join(SOURCES, INFO, name)
            with open(path, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
        return 0
    name, content = build()
    version = name.split("-")[1]
    if words[1:] and words[1] != f"v{version}":
        print(f"the library is {version}, and the tag {words[1]}: make them one", file=sys.stderr)
        return 2
    os.makedirs(words[0], exist_ok=True)
    with open(os.path.join(words[0], name), "wb") as file:
        file.write(content)
    print(f"{hashlib.sha256(content).hexdigest()}  {name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
