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


def take(project: Project, run: str, pipeline: Callable[[str], int]) -> int:
    """Fetch it, record it as what stage ``train`` made, run the rest; ``pipeline(until)`` runs.

    Raises ``Stop``: 3 where GitHub has no such artifact, 2 where it holds no model.
    """
    if code := pipeline("split"):
        return code
    with tempfile.TemporaryDirectory() as name:
        words = ("run", "download", run, "--name", ARTIFACT, "--dir", name)
        _do(project, "github-refuses", "gh", *words)
        found = [path for path in Path(name, MODEL).glob("*") if not path.is_symlink()]
        if not {CARD, WEIGHTS} <= {path.name for path in found} <= {CARD, WEIGHTS, ONNX}:
            raise Stop("model-missing", f"{ARTIFACT} of run {run} holds no model: take another run")
        shutil.rmtree(project / MODEL, ignore_errors=True)
        (project / MODEL).mkdir()
        for path in found:
            shutil.copyfile(path, project / MODEL / path.name)
    _do(project, "dvc-failed", sys.executable, "-m", "dvc", "commit", "--quiet", "--force", STAGE)
    if code := pipeline(""):
        return code
    say("take: dvc.lock records the model of that run: commit it, then `make push`")
    return GOOD


def _do(project: Project, code: str, *words: str) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=project.root)
    except FileNotFoundError:
        fix = "install it from https://cli.github.com, then run `gh auth login`"
        raise Stop("gh-missing", f"{words[0]} is not here: {fix}", INFRASTRUCTURE) from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no message"])[-1]
        called = " ".join((Path(words[0]).name, *words[1:3]))
        raise Stop(code, f"`{called}` failed ({said}): mend that, then the same", INFRASTRUCTURE)
