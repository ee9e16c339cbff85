"""The judge's bench: the base branch's checkout, with what a change brings laid on it as data.

The pipeline runs again here by the library's own stages, all but the training: the model is the one
that was handed over. The user's code is asked in confinement alone.
"""

import math
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from gatehouse.core import owned
from gatehouse.core.digests import CARD, MODEL, ONNX, WEIGHTS
from gatehouse.core.errors import CLOSED, Stop
from gatehouse.core.files import read_json, read_section, read_yaml, write_json, write_text
from gatehouse.core.hooks import CONFINED
from gatehouse.core.project import Project
from gatehouse.gates import distrust, own_stages, thresholds
from gatehouse.gates.data_gate import REPORT as GATE
from gatehouse.gates.own_stages import LEAVES
from gatehouse.gates.verdict import EXAM
from gatehouse.vcs.dvc import outs
from gatehouse.vcs.git import git

from . import change, pins

HANDED, DATASET, METRICS = Path("handed"), Path("data/dataset.parquet"), Path("metrics.json")
SIZES = {CARD: 16 << 20, WEIGHTS: 2 << 30, ONNX: 2 << 30}  # bytes of a model's files
DATA = 8 << 30  # bytes of a dataset that own code made
PIPELINE, LOCK, REPORT = Path("dvc.yaml"), Path("dvc.lock"), Path("reports/report.md")
MOST, CLOSE = 10, 1e-6  # differences told; what two machines may differ by


@dataclass
class Exam:
    """``reports/exam.json``: what the judge has to say beside the gates."""

    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    judging: list[str] = field(default_factory=list)
    recorded: str = ""
    pins: list[str] = field(default_factory=list)  # what two libraries say, where the pin changes


def hand_over(project: Project, *, repinned: bool = False) -> str:
    """Lay what the judge takes of a candidate into ``handed/``: the model, and what it claims.

    ``repinned``: also what the library says that the change brings.
    """
    shutil.rmtree(project / HANDED / MODEL, ignore_errors=True)
    (project / HANDED / MODEL).mkdir(parents=True)
    for name in SIZES:
        if (project / MODEL / name).exists():
            shutil.copyfile(project / MODEL / name, project / HANDED / MODEL / name)
    if (project / METRICS).exists():
        shutil.copyfile(project / METRICS, project / HANDED / METRICS.name)
    if repinned:
        pins.hand_over(project, project / HANDED)
    if own_data(read_yaml(project / PIPELINE)):
        shutil.copyfile(project / DATASET, project / HANDED / DATASET.name)
    return f"what the judge takes is in {HANDED}/"


def judge(project: Project, head: str) -> int:
    """Judge the commit ``head`` by the checkout here, which is the base's; 1 when a gate closes.

    Raises ``Stop``, which the report says then: 1 for a change that cannot be judged, 3 where the
    machine is at fault.
    """
    with _told(project):
        return _judge(project, head)


def _judge(project: Project, head: str) -> int:
    tree = change.merged(project, head)
    base_gates = (project / thresholds.GATES).read_text(encoding="utf-8")
    base_params = read_yaml(project / "params.yaml")
    left = change.take(project, tree)
    reasons = _gates(project, base_gates) + _split(project, base_params)
    notes = []
    if any(name.startswith(("requirements/", "vendor/")) for name in left):
        notes.append("requirements/ or vendor/ change: the judge was made of those of the base")
    source_inside(project)
    differs = change.seen(project, tree)
    judging = owned.told(*differs, loosened=reasons)
    exam = Exam(reasons, notes, judging)
    return _run(project, exam, tree, repinned=bool(owned.pins(*differs)))


def judge_here(project: Project) -> int:
    """Judge the commit that is checked out, a commit of the base branch itself."""
    with _told(project):
        return _run(project, Exam())


@contextmanager
def _told(project: Project) -> Iterator[None]:
    try:
        yield
    except Stop as stop:
        write_text(project / REPORT, f"## ❌ Not judged: {stop}\n")
        raise


def _model(project: Project, where: str) -> str | None:
    """The digest of the model that the lock of a commit or tree records."""
    return outs(git(project, "show", f"{where}:./{LOCK}") or "").get("model")


def _run(project: Project, exam: Exam, tree: str = "", *, repinned: bool = False) -> int:
    """Judge; ``tree`` is what a change would make of the base, ``repinned`` by another library."""
    reasons, notes, before = exam.reasons, exam.notes, _model(project, "HEAD")
    recorded = _model(project, tree) if tree else before
    pipeline = read_yaml(project / PIPELINE)
    handed = _handed(project)
    if own := own_stages.replaced(project):
        notes.append(f"the library's stages judge in place of own ones: {', '.join(own)}")
    if by_own := own_data(pipeline):
        notes.append(f"the dataset is as the candidate gives it, by own code: {', '.join(by_own)}")
    write_text(project / PIPELINE, yaml.safe_dump(by_library(pipeline), sort_keys=False))
    # What a lock says that stages gave, whoever merged it said: not even the base's is believed.
    (project / LOCK).unlink(missing_ok=True)
    os.environ[CONFINED] = "1"  # for all that is started from here
    verb = (sys.executable, "-P", "-m", "gatehouse.cli")
    write_json(project / EXAM, asdict(exam))
    _call(*verb, "data")
    if by_own:
        _place(project / HANDED / DATASET.name, project / DATASET, DATA)
        _dvc("commit", "--quiet", "--force", "ingest")
    closed = _dvc("repro", "--no-run-cache", "split", may_close=True)
    if closed and (not (project / GATE).exists() or read_json(project / GATE)["open"]):
        raise Stop("judge-stage", "a step of the judge failed: its words stand above")
    if not closed and not handed:
        reasons.append("no model was handed over: the run of the candidate says why")
    if not closed and handed:
        for name in handed:
            _place(project / HANDED / MODEL / name, project / MODEL / name, SIZES[name])
        for name in set(SIZES) - set(handed):
            (project / MODEL / name).unlink(missing_ok=True)
        _dvc("commit", "--quiet", "--force", "train")
        _dvc("repro", "--no-run-cache", "blessing")
        made = outs((project / LOCK).read_text(encoding="utf-8")).get("model")
        exam.recorded, note = distrust.held(made, recorded, before, merged=not tree)
        notes += [note] * bool(note) + _differences(project)
    if repinned:
        exam.pins = pins.told(project, tree, project / HANDED)
    write_json(project / EXAM, asdict(exam))
    code = _call(*verb, "gate", may_close=True)
    _call(*verb, "report", "--html")
    return code


def by_library(pipeline: dict[str, Any]) -> dict[str, Any]:
    """The pipeline with the library's stages alone, each by the library's own command."""
    stages = pipeline.get("stages") or {}
    return pipeline | {
        "stages": {
            name: stages[name] | {"cmd": f"gatehouse stage {name}"}
            for name in LEAVES
            if name in stages
        }
    }


def own_data(pipeline: dict[str, Any]) -> list[str]:
    """The stages of own code that may make the dataset: ``ingest``, and any other."""
    stages = pipeline.get("stages") or {}
    ingest = stages.get("ingest") or {}
    own = [] if ingest.get("cmd") == "gatehouse stage ingest" else ["ingest"]
    return own + [name for name in stages if name not in LEAVES]


def _gates(project: Project, base: str) -> list[str]:
    """Where the change loosens thresholds, why it is closed; the base's are put back."""
    path = project / thresholds.GATES
    now = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    if found := thresholds.looser(base, now):
        write_text(path, base)
    head = "gates.yaml is looser than the base branch's, whose thresholds judge: "
    return [head + said for said in found[:MOST]]


def source_inside(project: Project) -> None:
    """Raises ``Stop`` (1) where the parameters name a table that does not lie in ``data/``."""
    source = PurePosixPath(str(read_section(project / "params.yaml", "ingest").get("source")))
    if source.is_absolute() or source.parts[:1] != ("data",) or ".." in source.parts:
        raise Stop(
            "judge-source",
            "ingest.source in params.yaml leads out of data/: put the table there",
            CLOSED,
        )


def _split(project: Project, base: dict[str, Any]) -> list[str]:
    """Who is examined does not choose the rows: another split closes, and the base's judges."""
    now = read_yaml(project / "params.yaml")
    if now.get("split") == base.get("split"):
        return []
    params = {key: value for key, value in now.items() if key != "split"}
    if "split" in base:
        params["split"] = base["split"]
    write_text(project / "params.yaml", yaml.safe_dump(params, sort_keys=False))
    return ["params.yaml changes `split`, the rows that judge: those of the base branch judge"]


def _handed(project: Project) -> list[str]:
    """The model's files that were handed over; Stop (1) for anything else there."""
    folder = project / HANDED / MODEL
    found = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    if folder.is_symlink() or set(found) - set(SIZES):
        raise Stop("judge-handed", "what was handed over is no model: run CI again", CLOSED)
    return found if CARD in found and WEIGHTS in found else []


def _place(file: Path, to: Path, most: int) -> None:
    """Copy an ordinary file of bounded size; Stop (1) for any other."""
    about = file.lstat() if file.exists() else None
    if about is None or not stat.S_ISREG(about.st_mode) or about.st_size > most:
        raise Stop(
            "judge-handed", f"{file.name} was not handed over, or is no file of its size", CLOSED
        )
    to.parent.mkdir(parents=True, exist_ok=True)
    to.unlink(missing_ok=True)  # it may be a link into DVC's cache
    shutil.copyfile(file, to, follow_symlinks=False)


def _differences(project: Project) -> list[str]:
    """What the candidate says of itself and the judge found otherwise."""
    told = []
    try:
        theirs = read_json(project / HANDED / METRICS.name)["test"]
        ours = read_json(project / METRICS)["test"]
        for name, value in ours.items():
            said = theirs.get(name)
            same = said == value or (
                isinstance(said, float)
                and isinstance(value, float)
                and math.isclose(said, value, rel_tol=CLOSE, abs_tol=CLOSE)
            )
            if not same:
                shown = f"{said:.6g}" if isinstance(said, (int, float)) else "nothing"
                told.append(f"the candidate's run says {name} {shown}, the judge {value:.6g}")
    except (Stop, KeyError, TypeError, ValueError, AttributeError):
        told.append("the candidate's run hands over no metrics that can be compared")
    return told[:MOST]


def _dvc(*words: str, may_close: bool = False) -> int:
    return _call(sys.executable, "-P", "-m", "dvc", *words, may_close=may_close)


def _call(*words: str, may_close: bool = False) -> int:
    """Run it to its end; raises ``Stop`` (2) where it fails, unless that may be a closed gate."""
    code = subprocess.run(words, check=False).returncode
    if code and not may_close:
        raise Stop("judge-stage", "a step of the judge failed: its words stand above")
    return code
