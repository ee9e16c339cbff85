"""``gatehouse github take RUN``: the model that a run of CI made, in place of this machine's.

Another kind of machine gives a model other last digits, and so another digest than CI's, which is
what is judged, recorded in ``dvc.lock`` and released. Everything before and after is made here.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from gatehouse.core.console import say
from gatehouse.core.digests import CARD, MODEL, ONNX, WEIGHTS
from gatehouse.core.errors import GOOD, INFRASTRUCTURE, Stop
from gatehouse.core.project import Project

ARTIFACT, STAGE = "candidate", "train"
AGAIN = "mend that, and run the same again"


def take(project: Project, run: str, pipeline: Callable[[str], int]) -> int:
    """Fetch it, record it as what stage ``train`` made, run the rest; ``pipeline(until)`` runs.

    Raises ``Stop``: 3 where GitHub has no such artifact, 2 where it holds no model.
    """
    if code := pipeline("split"):
        return code
    with tempfile.TemporaryDirectory() as name:
        words = ("gh", "run", "download", run, "--name", ARTIFACT, "--dir", name)
        if why := _run(project, *words):
            raise Stop("github-refuses", f"GitHub gave no model ({why}): {AGAIN}", INFRASTRUCTURE)
        found = [path for path in Path(name, MODEL).glob("*") if not path.is_symlink()]
        if not {CARD, WEIGHTS} <= {path.name for path in found} <= {CARD, WEIGHTS, ONNX}:
            raise Stop("model-missing", f"{ARTIFACT} of run {run} holds no model: take another run")
        shutil.rmtree(project / MODEL, ignore_errors=True)
        (project / MODEL).mkdir()
        for path in found:
            shutil.copyfile(path, project / MODEL / path.name)
    if why := _run(project, sys.executable, "-m", "dvc", "commit", "--quiet", "--force", STAGE):
        raise Stop("dvc-failed", f"`dvc commit {STAGE}` failed ({why}): {AGAIN}", INFRASTRUCTURE)
    if code := pipeline(""):
        return code
    say("take: dvc.lock records the model of that run: commit it, then `make push`")
    return GOOD


def _run(project: Project, *words: str) -> str:
    """The last words of a command that failed; "" where it did not."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=project.root)
    except FileNotFoundError:
        return "no gh is here, see https://cli.github.com"
    return (done.stderr.strip().splitlines() or ["no message"])[-1] if done.returncode else ""
