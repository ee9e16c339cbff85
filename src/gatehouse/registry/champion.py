"""Verb ``champion``: fetch the model that a candidate must not be worse than.

No server is asked. The record on branch ``environments`` names the commit of the model in
production; before the first release, it is the latest blessed model on the base branch. DVC brings
the files of that commit, from the cache or the remote. A record that names a commit which is none
of main, or another model than the lock of that commit, ends here: no weaker one takes its place.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gatehouse.core.console import say
from gatehouse.core.digests import CARD, MODEL, ONNX, WEIGHTS, model_digest
from gatehouse.core.errors import GOOD, INFRASTRUCTURE, Stop
from gatehouse.core.files import read_json, write_json
from gatehouse.core.layout import CHAMPION_ORIGIN as ORIGIN
from gatehouse.core.project import Project
from gatehouse.serving.derived import module_of
from gatehouse.vcs.dvc import dvc_get, md5_of, outs
from gatehouse.vcs.git import base_ref, git

from . import record

CHAMPION = Path("champion")
RECORD = CHAMPION / "champion.json"  # the same for the same champion, wherever it was found

FEATURES = "features.py"  # of the commit of then, where the model has columns of it
REFERENCE = "data/reference.parquet"  # champions from before it was kept have none
PRODUCTION = "production"
LOOK_BACK = 50  # commits that changed dvc.lock


def fetch(project: Project) -> int:
    """Put the champion into ``champion/``, or say there that there is none; idempotent.

    A model that is the candidate itself is passed over: it was compared with the one before it.
    Where it is in production and there is none before, ``released`` says so.
    """
    known = read_json(project / RECORD) if (project / RECORD).exists() else {}
    candidate = outs((project / "dvc.lock").read_text(encoding="utf-8")).get("model")
    none: dict[str, Any] = {"found": False}
    for ref, made_by, release in _commits(project):
        made = outs(git(project, "show", f"{made_by}:dvc.lock") or "")
        model = made.get("model")
        if model and model == candidate:
            _same(release, model_digest(project / MODEL))
            none |= {"released": True} if ref == PRODUCTION else {}
            continue
        # In CI, what lies there may be anybody's.
        same = known.get("model_md5") == model and not os.environ.get("BASE_REF")
        same &= (project / CHAMPION / "model.skops").exists()
        same &= (project / CHAMPION / Path(REFERENCE).name).exists() or REFERENCE not in made
        same &= known.get("serving") != "onnx" or (project / CHAMPION / "model.onnx").exists()
        if model and "blessing.json" in made and (same or _bring(project, made_by, made, release)):
            write_json(project / ORIGIN, {"ref": ref, "commit": made_by})
            say(f"champion: the blessed model of {ref} ({made_by[:9]})")
            return GOOD
        if release:
            what = f"the record names commit {made_by[:9]} for {ref}"
            raise Stop(
                "champion-missing", f"{what}, which holds no blessed model: `make promote` another"
            )
    (project / ORIGIN).unlink(missing_ok=True)
    if known != none:
        _replace(project, None, none)
    if "released" in none:
        say("champion: the candidate itself is in production, and no release was before it")
    else:
        say("champion: none, the base branch has no other blessed model")
    return GOOD


def _commits(project: Project) -> Iterator[tuple[str, str, record.Record | None]]:
    """(ref, commit, release) to look at: production and what was there before, or the base."""
    # A checkout in CI has one branch; on a laptop, `promote` and `status` fetch the record.
    release = record.read(
        project, "production", record.tip(project, fetch=bool(os.environ.get("BASE_REF")))
    )
    ref = PRODUCTION
    while release:
        yield ref, release.commit, release
        ref, release = "the release before", record.before(project, "production", release)
    if ref != PRODUCTION or not (base := base_ref(project)):
        return
    log = git(
        project, "log", "--first-parent", f"-{LOOK_BACK}", "--format=%H", base, "--", "dvc.lock"
    )
    if log is None:
        raise Stop(
            "base-unknown", f"git knows no {base}: run `git fetch origin main`", INFRASTRUCTURE
        )
    yield from ((base, judged, None) for judged in log.split())


def _same(release: record.Record | None, digest: str) -> None:
    """Stop where the lock of a release's commit has another model than the record says."""
    if release and release.model != digest:
        there = f"the dvc.lock of its commit {release.commit[:9]} has {record.short(digest)}"
        raise Stop(
            "champion-not-blessed",
            f"the record of {release.at[:9]} names model {record.short(release.model)}, and "
            f"{there}: it is not used; revert that commit on branch {record.BRANCH}",
        )


def _bring(
    project: Project, commit: str, made: dict[str, str], release: record.Record | None
) -> bool:
    """Fetch model, blessing and reference of ``commit``; False where it was not blessed.

    What the lock of that commit records must be what comes, and a release's what the record says.
    """
    with tempfile.TemporaryDirectory(dir=".", prefix=".champion.") as name:
        folder = Path(name)

        def get(path: str, out: Path) -> None:
            dvc_get(project, path, commit, out)
            if md5_of(out) != made[path]:
                what = f"{path} of {commit[:9]} is not what its dvc.lock records"
                raise Stop("champion-not-blessed", f"{what}: `gatehouse push` it again")

        blessing = record.judged(project, release) if release else None
        if blessing is None:
            get("blessing.json", folder / "blessing.json")
            blessing = read_json(folder / "blessing.json")
        if blessing.get("blessed") is not True:
            say(f"champion: the model of {commit[:9]} is passed over, its blessing says no")
            return False
        get("model", folder / "model")
        digest = model_digest(folder / "model")
        _same(release, digest)
        if digest != blessing.get("model_digest"):
            raise Stop(
                "champion-not-blessed",
                f"the model of {commit[:9]} is not the one blessed there: do not use it",
            )
        if path := module_of(read_json(folder / "model" / CARD)):
            code = git(project, "show", f"{commit}:{path}")
            (folder / "model" / FEATURES).write_text(code or "", encoding="utf-8", newline="")
        if REFERENCE in made:
            get(REFERENCE, folder / "model" / Path(REFERENCE).name)
        about = {"found": True, "model_digest": digest, "model_md5": made["model"]}
        # Another scikit-learn than that of then may not read the model: then ONNX is asked.
        about["serving"] = (blessing.get("serving") or {}).get("format")
        rows = {"data_rows": blessing["data_rows"]} if blessing.get("data_rows") else {}
        _replace(project, folder / "model", about | rows)
    return True


def _replace(project: Project, model: Path | None, record: dict[str, Any]) -> None:
    draft = Path(tempfile.mkdtemp(dir=".", prefix=".champion."))
    if model:
        for name in (CARD, WEIGHTS, ONNX, FEATURES, Path(REFERENCE).name):
            if (model / name).exists() or name in (CARD, WEIGHTS):
                shutil.copyfile(model / name, draft / name)
    write_json(draft / RECORD.name, record)
    draft.chmod(0o755)
    shutil.rmtree(project / CHAMPION, ignore_errors=True)
    draft.rename(project / CHAMPION)
