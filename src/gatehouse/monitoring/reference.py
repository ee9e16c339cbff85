"""What the live model is held against: files of the commit that production was released from."""

from pathlib import Path
from typing import NamedTuple

from gatehouse.core.config.results import Blessing, read_result
from gatehouse.core.console import say
from gatehouse.core.errors import Stop
from gatehouse.core.layout import BLESSING
from gatehouse.core.project import Project
from gatehouse.registry import record
from gatehouse.vcs import data_branch as storage
from gatehouse.vcs.dvc import dvc_get, outs
from gatehouse.vcs.git import git, have

KEPT = Path(".monitor")
LOCK = Path("dvc.lock")
FILES = ("predictions", "data/test.parquet", "data/reference.parquet")


class Reference(NamedTuple):
    """``folder`` holds ``predictions/`` and ``data/`` of the model with this digest."""

    model: str
    commit: str  # "" for the model of this work tree, where nothing was released
    folder: Path


def bring(project: Project) -> Reference:
    """The reference of the model in production, fetched once; before a release, of this one.

    Raises ``Stop`` (3) where no cache or remote has its files.
    """
    release = record.read(project, "production", record.tip(project))
    here = outs((project / LOCK).read_text(encoding="utf-8")) if (project / LOCK).exists() else {}
    if release is None:
        if not all((Path(name)).exists() for name in (*FILES, str(BLESSING))):
            raise Stop(
                "reference-missing",
                "nothing was released, and no model is here: run `make pipeline`",
            )
        return Reference(read_result(project / BLESSING, Blessing).model_digest, "", project.root)
    have(project, release.commit)
    made = outs(git(project, "show", f"{release.commit}:{LOCK}") or "")
    if lacking := [name for name in FILES if name not in made]:
        what = f"commit {release.commit[:9]}, which production was released from, has no"
        raise Stop(
            "reference-missing",
            f"{what} {lacking[0]} in {LOCK}: release a model that this pipeline made",
        )
    same = all(made[name] == here.get(name) and Path(name).exists() for name in FILES)
    if same:
        return Reference(release.model, release.commit, project.root)
    folder = project / KEPT / made["predictions"][:12]
    if not all((folder / name).exists() for name in FILES):
        storage.refresh(project, "monitor")
        say(f"monitor: fetching the reference of {release.commit[:9]}")
        for name in FILES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if not (folder / name).exists():
                dvc_get(project, name, release.commit, folder / name)
    return Reference(release.model, release.commit, folder)
