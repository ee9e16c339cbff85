"""Pin each action inside the template to its newest release that is a week old.

``python scripts/pins.py`` rewrites ``uses: owner/name@COMMIT # vX.Y.Z`` in the generated workflows,
which Dependabot cannot read; it asks GitHub through ``gh``. Exit 2 for a file that is not pinned in
that form, 3 when GitHub cannot be asked; nothing is written then.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (ROOT / "{{cookiecutter.project_slug}}/.github", ROOT / "src/gatehouse/files/.github")
# A step may stand in one line: {uses: owner/name@COMMIT, with: {…}} # v1.2.3
PIN = re.compile(
    r"uses: ([\w.-]+/[\w.-]+)((?:/[\w.-]+)*)@([0-9a-f]{40})(, .*\})? # v(\d+\.\d+\.\d+)\s*$"
)
AGE = timedelta(days=7)  # bad releases are mostly found within days

Ask = Callable[[str], Any]
Release = tuple[str, str]  # commit, version


def ask(path: str) -> Any:
    """What GitHub's API says; raises OSError when it cannot be asked."""
    done = subprocess.run(["gh", "api", path], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"gh api {path}: {' '.join(done.stderr.split())}")
    return json.loads(done.stdout)


def order(version: str) -> tuple[int, ...]:
    """A key by which versions sort."""
    return tuple(int(part) for part in version.split("."))


def newest(action: str, ask: Ask, now: datetime) -> Release | None:
    """The highest release that is neither a draft, nor a trial, nor too young; None without one."""
    versions = [
        release["tag_name"][1:]
        for release in ask(f"repos/{action}/releases?per_page=100")
        if re.fullmatch(r"v\d+\.\d+\.\d+", release["tag_name"])
        and not release["draft"]
        and not release["prerelease"]
        and now - datetime.fromisoformat(release["published_at"]) >= AGE
    ]
    if not versions:
        return None
    version = max(versions, key=order)
    commit = ask(f"repos/{action}/commits/v{version}")["sha"]  # of the commit, not of a tag object
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise OSError(f"{action} v{version}: {commit!r} is no commit")
    return commit, version


def pinned(text: str, name: str, releases: Callable[[str], Release | None]) -> str:
    """The text with newer pins, never older ones; raises ValueError where one has another form."""
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        found = re.search(r"^\s*(?:- )?(?:\{.*\b)?uses: (?!\./)", line)
        if not found:
            continue
        pin = PIN.search(line)
        if not pin:
            raise ValueError(f"{name}, line {number + 1}: pin it as owner/name@COMMIT # v1.2.3")
        action, path, _, rest, version = pin.groups()
        release = releases(action)
        if release and order(release[1]) > order(version):
            new = f"uses: {action}{path}@{release[0]}{rest or ''} # v{release[1]}"
            lines[number] = f"{line[: pin.start()]}{new}\n"
            print(f"{name}: {action} v{version} -> v{release[1]}")
    return "".join(lines)


def main(ask: Ask = ask, *folders: Path) -> int:
    """Look at every file, then write those that change."""
    known: dict[str, Release | None] = {}

    def releases(action: str) -> Release | None:
        if action not in known:
            known[action] = newest(action, ask, datetime.now(UTC))
        return known[action]

    try:
        files = {
            path: path.read_text(encoding="utf-8")
            for folder in folders or FOLDERS
            for path in sorted(folder.rglob("*.yml"))
        }
        wanted = {path: pinned(text, path.name, releases) for path, text in files.items()}
    except ValueError as error:
        print(f"pins: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"pins: {error}: is `gh` here and logged in?", file=sys.stderr)
        return 3
    changed = [path for path in files if wanted[path] != files[path]]
    for path in changed:
        path.write_text(wanted[path], encoding="utf-8")
    print(f"{len(changed)} of {len(files)} files changed")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
