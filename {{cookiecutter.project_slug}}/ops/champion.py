"""Verb ``champion``: fetch the model that a candidate must not be worse than.

No server is asked. The record on branch ``environments`` names the commit of the model in
production; before the first release, it is the latest blessed model on the base branch. DVC brings
the files of that commit, from the cache or the remote.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from .console import GOOD, INFRASTRUCTURE, Stop, read_json, say, write_json
from .digests import model_digest
from .git import base_ref, git, have
from .release import record

CHAMPION = Path("champion")
RECORD = CHAMPION / "champion.json"  # the same for the same champion, wherever it was found
ORIGIN = Path("reports/champion.json")
REFERENCE = "data/reference.parquet"  # champions from before it was kept have none
PRODUCTION = "production"
LOOK_BACK = 50  # commits that changed dvc.lock


def fetch() -> int:
    """Put the champion into ``champion/``, or say there that there is none; idempotent.

    A model that is the candidate itself is passed over: it was compared with the one before it.
    Where it is in production and there is none before, ``released`` says so.
    """
    known = read_json(RECORD) if RECORD.exists() else {}
    candidate = outs(Path("dvc.lock").read_text(encoding="utf-8")).get("model")
    none: dict[str, Any] = {"found": False}
    for ref, made_by in _commits():
        made = outs(git("show", f"{made_by}:dvc.lock") or "")
        model = made.get("model")
        if model and model == candidate:
            none |= {"released": True} if ref == PRODUCTION else {}
            continue
        same = known.get("model_md5") == model and (CHAMPION / "model.skops").exists()
        same &= (CHAMPION / Path(REFERENCE).name).exists() or REFERENCE not in made
        same &= known.get("serving") != "onnx" or (CHAMPION / "model.onnx").exists()
        if (
            model
            and "blessing.json" in made
            and (same or _bring(made_by, model, REFERENCE in made))
        ):
            write_json(ORIGIN, {"ref": ref, "commit": made_by})
            say(f"champion: the blessed model of {ref} ({made_by[:9]})")
            return GOOD
        if ref == PRODUCTION:
            what = f"the record names commit {made_by[:9]} for production"
            raise Stop(f"{what}, which holds no blessed model: `make promote` another")
    ORIGIN.unlink(missing_ok=True)
    if known != none:
        _replace(None, none)
    if "released" in none:
        say("champion: the candidate itself is in production, and no release was before it")
    else:
        say("champion: none, the base branch has no other blessed model")
    return GOOD


def _commits() -> Iterator[tuple[str, str]]:
    """(ref, commit) to look at, best first: production and what was there before, or the base."""
    # A checkout in CI has one branch; on a laptop, `promote` and `status` fetch the record.
    release = record.read("production", record.tip(fetch=bool(os.environ.get("BASE_REF"))))
    ref = PRODUCTION
    while release:
        have(release.commit)
        yield ref, release.commit
        ref, release = "the release before", record.before("production", release)
    if ref != PRODUCTION or not (base := base_ref()):
        return
    log = git("log", "--first-parent", f"-{LOOK_BACK}", "--format=%H", base, "--", "dvc.lock")
    if log is None:
        raise Stop(f"git knows no {base}: run `git fetch origin main`", INFRASTRUCTURE)
    yield from ((base, judged) for judged in log.split())


def outs(lock: str) -> dict[str, str]:
    """Path -> md5 of what the stages of a ``dvc.lock`` made; empty where it cannot be read."""
    try:
        stages = (yaml.safe_load(lock) or {}).get("stages") or {}
        return {
            out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", [])
        }
    except (yaml.YAMLError, AttributeError, KeyError, TypeError):
        return {}


def _bring(commit: str, md5: str, reference: bool) -> bool:
    """Fetch model, blessing and reference of ``commit``; False where it was not blessed."""
    with tempfile.TemporaryDirectory(dir=".", prefix=".champion.") as name:
        folder = Path(name)
        dvc_get("blessing.json", commit, folder / "blessing.json")
        blessing = read_json(folder / "blessing.json")
        if blessing.get("blessed") is not True:
            return False
        dvc_get("model", commit, folder / "model")
        digest = model_digest(folder / "model")
        if digest != blessing["model_digest"]:
            raise Stop(f"the model of {commit[:9]} is not the one blessed there: do not use it")
        if reference:
            dvc_get(REFERENCE, commit, folder / "model" / Path(REFERENCE).name)
        record = {"found": True, "model_digest": digest, "model_md5": md5}
        # Another scikit-learn than that of then may not read the model: then ONNX is asked.
        record["serving"] = (blessing.get("serving") or {}).get("format")
        rows = {"data_rows": blessing["data_rows"]} if blessing.get("data_rows") else {}
        _replace(folder / "model", record | rows)
    return True


def dvc_get(path: str, made_by: str, out: Path) -> None:
    """What a commit recorded under ``path``, from the cache or the remote; Stop (3) without it."""
    have(made_by)
    command = ["-m", "dvc", "get", "--quiet", ".", path, "--rev", made_by, "--out", str(out)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Stop(
            f"{path} of {made_by[:9]} is in no cache or remote ({last}): run `dvc push` where it "
            "was made, or `dvc fetch --all-commits` here",
            INFRASTRUCTURE,
        )


def _replace(model: Path | None, record: dict[str, Any]) -> None:
    draft = Path(tempfile.mkdtemp(dir=".", prefix=".champion."))
    if model:
        for name in ("model.json", "model.skops", "model.onnx", Path(REFERENCE).name):
            if (model / name).exists() or name in ("model.json", "model.skops"):
                shutil.copyfile(model / name, draft / name)
    write_json(draft / RECORD.name, record)
    draft.chmod(0o755)
    shutil.rmtree(CHAMPION, ignore_errors=True)
    draft.rename(CHAMPION)
