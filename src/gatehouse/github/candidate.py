"""A training as the job `train` of ct.yml runs it: ``gatehouse github training decide|outcome``.

It holds no token that may write, since other people's packages run there. What it decided it says
in its outputs; what came of it lies in ``handed/``, for the job that hands it over.
"""

import json
import os
import re
import shutil
from functools import partial
from pathlib import Path

from gatehouse.core.errors import GOOD, INFRASTRUCTURE, Stop
from gatehouse.core.files import read_json, write_text
from gatehouse.core.project import Project
from gatehouse.monitoring.clock import now
from gatehouse.retraining import facts
from gatehouse.vcs import data_branch
from gatehouse.vcs.dvc import LOCK, made, outs
from gatehouse.vcs.git import git, must, somebody

from .comment import LOG, REPORT, fence, log_end
from .handover import FOLDER, OUTCOME, SHORT, TRAINED
from .handover import REPORT as HANDED
from .keys import explained, output, summary
from .training import BY_EVENT

DATA_GATE, BLESSING = Path("reports/data_gate.json"), Path("blessing.json")
TAIL = 30


@explained()
def decide(project: Project) -> int:
    """Decide; where training starts, put the new data on a branch that is here alone."""
    event = os.environ["GITHUB_EVENT_NAME"]
    facts.update(project)
    forced, why = os.environ.get("FORCE") == "true", os.environ.get("REASON", "")[:300]
    made = facts.decide(project, BY_EVENT[event], " ".join(why.split()), force=forced, write=False)
    output("go", "true" if made and made.state == "started" else "false")
    if made is None or made.state == "known":
        why = made.why if made else "nothing asks for a training"
        summary(f"## Nothing to do\n\n{fence([why])}\n")
        return GOOD
    output("decision", json.dumps(made.line() | {"when": now().isoformat(timespec="seconds")}))
    output("bucket", "false" if data_branch.embedded(project) else "true")
    summary(f"## Training {made.state}: {made.trigger}\n\n{fence([made.why])}\n")
    if made.state == "started":
        do = partial(must, project, "written", TRAINED)
        do("checkout", "--quiet", "-B", f"retrain-{made.key[:SHORT]}")
        if changed := _changed(project, "HEAD"):
            do("add", "--", *changed)
        who = somebody(project, "Gatehouse")
        do(*who, "commit", "--quiet", "--allow-empty", "-m", f"Retrain: {made.trigger}")
    return GOOD


@explained()
def outcome(project: Project) -> int:
    """What became of it: quarantine, not blessed, nothing changed, or a candidate on its way."""
    base = os.environ["BASE_REF"]
    if os.environ["RAN"] != "success":
        # A model that was judged, else data that were, else a source that could not be read.
        if (project / BLESSING).exists():
            _hand(project, "not-blessed", base)
        elif _data_broke(project, base):
            _hand(project, "quarantined", base, *_changed(project, base))
        else:
            raise Stop(
                "pipeline-no-verdict",
                "the pipeline ended before its verdict: the log says why",
                INFRASTRUCTURE,
            )
    elif _same_model(project, base):
        summary("## Nothing changed: what trains the model is as before, and so is the model\n")
        _hand(project, "nothing", base)
    else:
        _hand(project, "blessed", base, *_changed(project, base), str(LOCK))
    return GOOD


def _data_broke(project: Project, base: str) -> bool:
    """Whether the data gate closed; where it was not reached, whether the source is a new one."""
    if (project / DATA_GATE).exists():
        return read_json(project / DATA_GATE)["open"] is False
    return not facts.sources_known(project, base)


def _hand(project: Project, state: str, base: str, *names: str) -> None:
    """Leave what the next job needs: how it ended, the report, lock and pointers, new objects."""
    shutil.rmtree(project / FOLDER, ignore_errors=True)
    told = _told(project)
    headline = re.sub(r" *<!--.*?-->", "", told.partition("\n")[0].removeprefix("## "))
    commit = (git(project, "rev-parse", f"{base}^0") or "").strip()
    said = {"state": state, "headline": headline[:300], "base": commit}
    write_text(project / OUTCOME, json.dumps(said))
    write_text(project / HANDED, told)
    for path in (project / name for name in names):
        _copy(path, project / FOLDER / "tree" / path.relative_to(project.root))
    if state == "quarantined":
        for path in (project / "reports").glob("*"):
            if path.suffix in (".md", ".json", ".log"):
                _copy(path, project / FOLDER / "reports" / path.name)
    pointers = [name for name in names if name.endswith(".dvc")]
    if state == "blessed":
        data_branch.set_aside(project, project / FOLDER / "storage")
    elif pointers:
        data_branch.set_aside(project, project / FOLDER / "storage", *pointers)


def _told(project: Project) -> str:
    """What a reviewer reads; the end of the log where there is no report."""
    if (project / REPORT).exists():
        return (project / REPORT).read_text("utf-8")
    return log_end(project / LOG, TAIL)


def _same_model(project: Project, base: str) -> bool:
    here = outs((project / LOCK).read_text("utf-8"))
    return here.get("model", "") == made(project, base).get("model", "")


def _changed(project: Project, since: str) -> list[str]:
    return (git(project, "diff", "--name-only", since, "--", "*.dvc") or "").split()


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
