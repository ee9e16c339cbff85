"""``./gatehouse VERB``, as the wheel in ``vendor/`` runs it before there is anything else.

What needs no environment runs at once; for all else the one of ``requirements/train.txt`` is made
where it is missing or older than its lock, and its own ``gatehouse`` goes on. Standard library
alone, on any Python from 3.9 on.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .core import environments
from .core.actions import lend_token
from .core.errors import CLOSED, Stop

# As the script of a project has it: what lies in the folder is never taken for a module.
START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from gatehouse.__main__ import main; "
START += "sys.exit(main(sys.argv[1:]))"


def main(words: list[str]) -> int:
    """Run one command; returns its exit code."""
    lend_token()
    try:
        if words[:1] == ["github"]:
            from .github import plain

            if plain.needs_none(words[1:]):
                return plain.run(words[1:], _again)
        if words[:1] == ["doctor"] and not environments.python("train").exists():
            raise Stop("environment-missing", ".venv is not here: run `make setup`", CLOSED)
        program = environments.ensure("train").with_name("gatehouse")
    except Stop as error:
        print(error.told(words[0] if words else "gatehouse"), file=sys.stderr)
        return error.exit_code
    # Else every Python that it starts would look into the wheel first.
    os.environ.pop("PYTHONPATH", None)
    if os.name != "nt":
        os.execv(program, ["gatehouse", *words])  # does not return
    return subprocess.run([str(program), *words], check=False).returncode


def _again(words: list[str]) -> list[str]:
    return [sys.executable, "-I", "-c", START, str(Path(__file__).parents[1]), *words]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
