"""Git in tests: commands, refusals, and what lies on an origin."""

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gatehouse.core.errors import Stop


def git(*words: str, code: int = 0) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout.strip()


def refused(deed: Callable[[], object], code: int, *sentence: str) -> str:
    """The one sentence that ``deed`` ends with, of which these are parts, and ``[its-code]``."""
    with pytest.raises(Stop) as stopped:
        deed()
    said = f"{stopped.value} [{stopped.value.code}]"
    assert stopped.value.exit_code == code, said
    assert "\n" not in said
    assert [part for part in sentence if part not in said] == [], said
    return said


def tip(origin: Path, branch: str = "dvc-storage") -> str:
    return git("-C", str(origin), "rev-parse", "--verify", branch)


def flip(path: Path, *, keep_time: bool = False) -> str:
    """Change one bit in the middle of a file, whatever its mode; return its new digest."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(before.st_mode)
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
