"""actions/cache/restore and actions/cache/save, with the scopes of branches.

A cache belongs to the paths it was saved with and to the ref that saved it. A run sees its own
ref's caches, then its base branch's, then the default branch's; never those of another ref.
"""

import hashlib
import json
import os
import sys
import tarfile
import time
from pathlib import Path
from urllib.parse import quote

from workflows.standins.step import absolute, fail, hub, inputs, lines, matches, output, warn


def _places() -> dict[str, str]:
    """Folders that are the same on every machine of GitHub, but differ between jobs here."""
    return {
        "workspace": os.environ["GITHUB_WORKSPACE"],
        "temp": os.environ["RUNNER_TEMP"],
        "home": os.environ["HOME"],
    }


def _version(paths: str) -> str:
    """Caches of other paths are other caches."""
    wanted = "\n".join(lines(paths)[0])
    for name, place in _places().items():
        wanted = wanted.replace(place, name)
    return hashlib.sha256(wanted.encode()).hexdigest()[:16]


def _folder(ref: str, paths: str) -> Path:
    return hub("caches") / quote(ref, safe="") / _version(paths)


def _scopes() -> list[str]:
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
    default = event.get("repository", {}).get("default_branch", "main")
    base = os.environ.get("GITHUB_BASE_REF", "")
    refs = [os.environ["GITHUB_REF"], f"refs/heads/{base}" if base else "", f"refs/heads/{default}"]
    return [ref for ref in dict.fromkeys(refs) if ref]


def _find(paths: str, key: str, prefixes: list[str]) -> Path | None:
    for ref in _scopes():
        folder = _folder(ref, paths)
        exact = folder / f"{quote(key, safe='')}.tar"
        if exact.is_file():
            return exact
        for prefix in [key, *prefixes]:
            found = list(folder.glob(f"{quote(prefix, safe='')}*.tar"))
            if found:
                return max(found, key=lambda path: path.stat().st_mtime_ns)
    return None


def restore() -> None:
    """Unpack the exact key, else the newest with one of the prefixes."""
    given = inputs()
    key = given["key"]
    output("cache-primary-key", key)
    prefixes = [line.strip() for line in given["restore-keys"].splitlines() if line.strip()]
    found = _find(given["path"], key, prefixes)
    if found is None:
        if given["fail-on-cache-miss"] == "true":
            fail(f"Failed to restore cache entry. Input key: {key}")
        print(f"Cache not found for input keys: {', '.join([key, *prefixes])}")
        return
    matched = json.loads(found.with_suffix(".json").read_text(encoding="utf-8"))["key"]
    if given["lookup-only"] != "true":
        with tarfile.open(found) as archive:
            for name, place in _places().items():
                members = [m for m in archive.getmembers() if m.name.split("/")[0] == name]
                for member in members:
                    member.name = member.name.removeprefix(name).lstrip("/") or "."
                archive.extractall(place, members=members, filter="fully_trusted")
    output("cache-matched-key", matched)
    output("cache-hit", "true" if matched == key else "false")
    print(f"Cache restored from key: {matched}")


def save() -> None:
    """Keep the paths under the key; what is there already stays as it is."""
    given = inputs()
    folder = _folder(os.environ["GITHUB_REF"], given["path"])
    folder.mkdir(parents=True, exist_ok=True)
    packed = folder / f"{quote(given['key'], safe='')}.tar"
    if packed.exists():
        warn(f"Failed to save: a cache with the key {given['key']} exists already")
        return
    wanted, unwanted = lines(given["path"])
    found = sorted({path for pattern in wanted for path in matches(pattern)})
    if not found:
        warn("Path Validation Error: the paths to cache do not exist, so no cache is saved")
        return
    excluded = {path for pattern in unwanted for path in matches(pattern)}
    unfinished = packed.with_suffix(f".{os.getpid()}.{time.time_ns()}")
    with tarfile.open(unfinished, "w") as archive:
        for path in found:
            archive.add(
                path,
                _portable(path),
                filter=lambda member: None if _is_under(member.name, excluded) else member,
            )
    packed.with_suffix(".json").write_text(json.dumps({"key": given["key"]}), encoding="utf-8")
    unfinished.rename(packed)
    print(f"Cache saved with key: {given['key']}")


def _portable(path: Path) -> str:
    inside = [item for item in _places().items() if path.is_relative_to(item[1])]
    if not inside:
        fail(f"{path} lies outside workspace, temporary folder and home: it is not cached here")
    name, place = inside[0]
    return f"{name}/{path.relative_to(place)}"


def _is_under(member: str, excluded: set[Path]) -> bool:
    name, _, rest = member.partition("/")
    path = Path(absolute(_places()[name])) / rest
    return any(path == out or path.is_relative_to(out) for out in excluded)


if __name__ == "__main__":
    {"restore": restore, "save": save}[sys.argv[1]]()
