"""Verb ``checks``: start the checks runner in its own environment, where only files cross."""

import os
import subprocess
import time
from pathlib import Path

from .console import INFRASTRUCTURE, Stop, say

ENVIRONMENT = Path(".venv-checks")


def checks_python() -> Path:
    """The interpreter of the checks environment; a missing one is never "0 findings"."""
    for name in ("bin/python", "Scripts/python.exe"):
        if (ENVIRONMENT / name).exists():
            return ENVIRONMENT / name
    raise Stop(f"the checks environment {ENVIRONMENT} is missing: run `make setup`", INFRASTRUCTURE)


def run_checks(what: str) -> int:
    """Check the dataset or the candidate; findings go to ``reports/``, the gate judges them."""
    python = checks_python()
    report = Path("reports") / f"{what}.json"
    report.unlink(missing_ok=True)
    say(f"checks: starting Deepchecks on the {what}")
    start = time.perf_counter()
    # The other environments' settings must not leak into this one.
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    code = subprocess.run(
        [python, "-m", "ops.checks", what], env=environment, check=False
    ).returncode
    if code == 0 and not report.exists():
        raise Stop(f"the checks ended without {report}: run `make pipeline` again", INFRASTRUCTURE)
    say(f"checks: {what} done in {time.perf_counter() - start:.1f} s")
    return code
