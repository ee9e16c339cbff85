"""What the live model is held against: files of the commit that production was released from."""

from pathlib import Path
from typing import NamedTuple

from .. import storage
from ..champion import dvc_get, outs
from ..console import Stop, read_json, say
from ..git import git, have
from ..release import record

KEPT = Path(".monitor")
LOCK, BLESSING = Path("dvc.lock"), Path("blessing.json")
FILES = ("predictions", "data/test.parquet", "data/reference.parquet")


class Reference(NamedTuple):
    """``folder`` holds ``predictions/`` and ``data/`` of the model with this digest."""

    model: str
    commit: str  # "" for the model of this work tree, where nothing was released
    folder: Path


def bring() -> Reference:
    """The reference of the model in production, fetched once; before a release, of this one.

    Raises ``Stop`` (3) where no cache or remote has its files.
    """
    release = record.read("production", record.tip())
    here = outs(LOCK.read_text(encoding="utf-8")) if LOCK.exists() else {}
    if release is None:
        if not all((Path(name)).exists() for name in (*FILES, str(BLESSING))):
            raise Stop("nothing was released, and no model is here: run `make pipeline`")
        return Reference(read_json(BLESSING)["model_digest"], "", Path())
    have(release.commit)
    made = outs(git("show", f"{release.commit}:{LOCK}") or "")
    if lacking := [name for name in FILES if name not in made]:
        what = f"commit {release.commit[:9]}, which production was released from, has no"
        raise Stop(f"{what} {lacking[0]} in {LOCK}: release a model that this pipeline made")
    same = all(made[name] == here.get(name) and Path(name).exists() for name in FILES)
    if same:
        return Reference(release.model, release.commit, Path())
    folder = KEPT / made["predictions"][:12]
    if not all((folder / name).exists() for name in FILES):
        storage.refresh("monitor")
        say(f"monitor: fetching the reference of {release.commit[:9]}")
        for name in FILES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if not (folder / name).exists():
                dvc_get(name, release.commit, folder / name)
    return Reference(release.model, release.commit, folder)
