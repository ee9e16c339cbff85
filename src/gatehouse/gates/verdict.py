"""Verb ``gate``: the verdict over what lies in this work tree, for people and for CI."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from gatehouse.core import owned
from gatehouse.core.config.rules import BOUNDS
from gatehouse.core.console import paint
from gatehouse.core.digests import MODEL, model_digest
from gatehouse.core.environments import LOCKS, VENDOR
from gatehouse.core.errors import CLOSED, GOOD, Stop
from gatehouse.core.files import read_json, read_section
from gatehouse.core.project import Project
from gatehouse.core.strict_yaml import load
from gatehouse.vcs.git import Differing, base_ref, changed, has_origin

from . import blessing, own_stages, thresholds
from . import data_gate as data
from . import distrust as results

MOST = 10  # loosenings told one by one
EXAM = Path("reports/exam.json")  # the judge's, where it judged: reasons and notes of its own
AFTER = "catalogue"  # a stage that comes after the verdict


def show(project: Project, *, as_json: bool) -> int:
    """Print the verdict; exit 1 when a gate is closed or the verdict is not about these files."""
    try:
        verdict = collect(project)
        told = lines(verdict)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        what = f"{blessing.BLESSING} or {data.REPORT} is damaged ({error!r})"
        raise Stop("not-judged", f"{what}: run `make pipeline`") from error
    if as_json:
        told = [json.dumps(verdict, indent=2, ensure_ascii=False)]
    for line in told:
        print(line)
    return GOOD if verdict["open"] else CLOSED


def collect(project: Project) -> dict[str, Any]:
    """Both gates and the reasons why one is closed."""
    if not any((project / path).exists() for path in (data.REPORT, blessing.BLESSING)):
        raise Stop("not-judged", "nothing has been judged yet: run `make pipeline`")
    data_gate = read_json(project / data.REPORT)
    verdict: dict[str, Any] = {"open": False, "data_gate": data_gate, "blessing": None}
    found, in_ci = loosened(project), bool(os.environ.get("BASE_REF"))
    verdict["loosened"] = found if in_ci else []
    differs = changed(project)
    # Where there is nobody else yet, nobody has to agree.
    shared = in_ci or has_origin(project)
    verdict["judging"] = owned.told(*differs, loosened=found) if shared else []
    verdict["own"] = own_stages.replaced(project)
    verdict["notes"] = [] if in_ci else found + otherwise(project, differs)
    verdict["recorded"], verdict["pins"] = "", []
    exam = read_json(project / EXAM) if (project / EXAM).exists() else None
    if exam:
        verdict |= {"loosened": exam["reasons"]}
        verdict |= {key: exam[key] for key in ("notes", "judging", "recorded", "pins")}
    said = verdict["loosened"]
    verdict["reasons"] = said + [f"data gate: {reason}" for reason in data_gate["reasons"]]
    no_model = said and not (project / blessing.BLESSING).exists()
    if data_gate["open"] is not True or no_model:
        return verdict
    verdict["blessing"] = judged = read_json(project / blessing.BLESSING)
    if in_ci and not exam:
        verdict["recorded"], note = results.recorded(project)
        verdict["notes"] += [note] if note else []
    verdict["reasons"] = verdict["loosened"] + judged["reasons"]
    verdict["reasons"] += [verdict["recorded"]] if verdict["recorded"] else []
    if judged["model_digest"] != model_digest(project / MODEL):
        verdict["reasons"].append("the model in model/ is not the one that was judged")
    if stale := stale_stages(project):
        verdict["reasons"].append(
            f"{', '.join(stale)} changed since the verdict: run `make pipeline`"
        )
    verdict["open"] = judged["blessed"] is True and not verdict["reasons"]
    return verdict


def otherwise(project: Project, differs: Differing) -> list[str]:
    """A sentence for each thing that the judge in CI does otherwise than this laptop."""
    changes, before, _ = differs
    names = {name for change in changes for name in change.names}
    found = []
    if own := own_stages.replaced(project):
        found.append(f"in CI the library's stages judge in place of {', '.join(own)}")
    if any(name.startswith((f"{LOCKS}/", f"{VENDOR}/")) for name in names):
        found.append("in CI the library and the packages of the base branch judge")
    if "params.yaml" in names and (text := before("params.yaml")):
        with suppress(Exception):  # what is wrong with YAML can raise anything
            if load(text).get("split") != read_section(project / "params.yaml", "split"):
                found.append("in CI `split` of the base branch chooses the rows, and this closes")
    return found


def loosened(project: Project) -> list[str]:
    """A sentence for each threshold that this change loosens, the first ten of them."""
    found = thresholds.loosened(project)
    judges = "whose thresholds judge" + ("" if os.environ.get("BASE_REF") else " in CI")
    head = f"gates.yaml is looser than {base_ref(project)}'s, {judges}: "
    more = [f"{len(found) - MOST:,} loosenings more"] if found[MOST:] else []
    return [head + said for said in found[:MOST] + more]


def stale_stages(project: Project) -> list[str]:
    """Stages whose files are not those of ``dvc.lock``; a verdict over them would be an old one."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "dvc", "status", "--json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=project.root,
    )
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        reason = (said or done.stderr.split("\n"))[0].removeprefix("ERROR: ") or "no message"
        raise Stop(
            "dvc-failed", f"DVC cannot say whether the verdict is fresh ({reason}): mend that first"
        )
    found = json.loads(done.stdout)
    return sorted(
        name for name, why in found.items() if why != ["always changed"] and name != AFTER
    )


def lines(verdict: dict[str, Any]) -> list[str]:
    """The verdict in words: the answer first, then the rules, then why not."""
    if verdict["open"]:
        text = [paint("OPEN", "green") + ": the candidate is blessed"]
        if reason := ((verdict["blessing"] or {}).get("champion") or {}).get("bootstrap"):
            text.append(f"  compared with no champion: {reason}")
    else:
        text = [paint("CLOSED", "red") + f": {len(verdict['reasons'])} reason(s)"]
    if own := verdict.get("own"):
        text.append(paint(f"  judged by own code: {', '.join(own)}", "yellow"))
    known = {*verdict["notes"], *verdict["reasons"]}
    judging = (said for said in verdict.get("judging", []) if said not in known)
    text += [paint(f"  what judges changes: {said}", "yellow") for said in judging]
    text += [paint(f"  {said}", "yellow") for said in verdict.get("pins", [])]
    if beaten := (verdict["blessing"] or {}).get("beaten"):
        text.append(paint("  " + beaten, "yellow"))
    gate = verdict["data_gate"]
    text.append(f"  data gate  {_mark(gate['open'])}  {gate['rows']:,} rows")
    for rule in (verdict["blessing"] or {}).get("rules", []):
        text.append(_rule_line(rule))
    warned = [f for f in gate["findings"] if f["status"] == "warn"]
    if warned:
        text.append(f"  {len(warned)} warning(s) on the data: see {data.REPORT}")
    text += [paint("  note: ", "yellow") + note for note in verdict["notes"]]
    return text + [f"  - {reason}" for reason in verdict["reasons"]]


def _rule_line(rule: dict[str, Any]) -> str:
    name = rule["metric"] if rule["slice"] == "all" else f"{rule['metric']} on {rule['slice']}"
    bounds = ", ".join(f"{side} {rule[side]:.4g}" for side in BOUNDS if rule.get(side) is not None)
    value = "missing" if rule["candidate"] is None else f"{rule['candidate']:.4g}"
    if rule["low"] is not None:
        value += f" against {rule['champion']:.4g} ({rule['against']})"
        value += f", improvement {rule['low']:+.4g} to {rule['high']:+.4g}"
    return f"  {name:<10} {_mark(rule['passed'])}  {value} ({bounds})"


def _mark(good: bool) -> str:
    return paint("open  ", "green") if good else paint("closed", "red")
