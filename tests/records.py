"""Candidates as a pipeline and ``make image`` would leave them, and what git says of them."""

import hashlib
from pathlib import Path
from typing import Any

import yaml
from gate_files import BLESSED, put
from repositories import git


def tip(origin: Path, branch: str) -> str:
    return git("-C", str(origin), "rev-parse", "--verify", branch)


def candidate(
    version: str, champion: str = "", *, build: str = "", reasons: Any = (), **image: Any
) -> str:
    """A blessed model with its image, committed and merged into main; its digest."""
    from gatehouse.core.digests import MODEL, file_digest, model_digest
    from gatehouse.vcs import dvc

    far = "origin" in git("remote").split()
    if far and git("ls-remote", "origin", "refs/heads/main"):
        git("fetch", "--quiet", "origin", "main")
        git("reset", "--quiet", "--soft", "FETCH_HEAD")
    put("model/model.json", {"version": version})
    Path("model/model.skops").write_text(version, encoding="utf-8")
    model = str(model_digest(MODEL))
    judged = {"model_digest": champion} if champion else {"bootstrap": "the first"}
    put("blessing.json", BLESSED | {"model_digest": model, "champion": judged})
    md5 = {path: dvc.md5_of(Path(path)) for path in ("model", "blessing.json")}
    outs = [{"path": path, "md5": value} for path, value in md5.items()]
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": {"train": {"outs": outs}}}))
    git("add", "dvc.lock")
    git("commit", "--quiet", "--allow-empty", "--message", f"Model {version}")
    if far:
        git("push", "--quiet", "origin", "HEAD:refs/heads/main")
    name = f"sha256:{digest(f'image of {version}{build}')}"
    said = {
        "image": f"registry.example:5000/team/flights@{name}",
        "id": name,
        "model": model,
        "blessing": file_digest(Path("blessing.json")),
        "commit": git("rev-parse", "HEAD"),
        "data": {"dataset": "d" * 32, "test": f"sha256:{'e' * 64}"},
        "blessed": not reasons,
        "reasons": list(reasons),
    }
    put("reports/image.json", said | image)
    return model


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
