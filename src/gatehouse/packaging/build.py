"""Lay out what the serving image holds, and build it.

The files are the model, what it was blessed by, and the code of ``src/`` as git has it; packages
are those of the lock, the library among them. Nothing is installed inside the image: they are laid
out here, as the lock hashes them, with one time stamp and plain rights, so that the same inputs
give the same layers.
"""

import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gatehouse.core import environments, shipped
from gatehouse.core.console import say
from gatehouse.core.digests import MODEL, file_digest, model_digest
from gatehouse.core.errors import INFRASTRUCTURE, Stop
from gatehouse.core.layout import BLESSING
from gatehouse.core.layout import DEPLOY as PATH
from gatehouse.core.project import Project
from gatehouse.vcs.dvc import outs
from gatehouse.vcs.git import git

from .docker import docker, last_words, patiently, run
from .sbom import write_sbom

if TYPE_CHECKING:  # late: what has no environment asks for the paths below
    from gatehouse.core.config import results

FOLDER = Path("build/image")
CONTEXT = FOLDER / "context.tar"
DOCKERFILE = "deploy/Dockerfile"
KEPT = (BLESSING, Path("schema.yaml"), Path("gates.yaml"))  # beside the model
LOG = "files/log"  # where the inference log is mounted
# What the image is made of; the label of the commit must be true of it.
MADE_OF = (
    *("src", "requirements", "vendor", "deploy", "deploy.yaml"),
    *("pyproject.toml", "schema.yaml", "gates.yaml"),
)
PLATFORMS = {"amd64": "x86_64-unknown-linux-gnu", "arm64": "aarch64-unknown-linux-gnu"}
EPOCH = 1_577_836_800  # 2020-01-01, as good as any


def commit_here(project: Project) -> str:
    """The commit that the image will name; Stop where what goes into it was not committed."""
    commit = (git(project, "rev-parse", "HEAD") or "").strip()
    if not commit:
        raise Stop(
            "no-commit", "the image names the commit that it is made from: `git commit` first"
        )
    changed = (git(project, "status", "--porcelain", "--", *MADE_OF, "dvc.lock") or "").split("\n")
    if files := [line[3:] for line in changed if line]:
        raise Stop(
            "not-committed",
            f"{files[0]} is not committed, and the image names a commit: `git commit` first",
        )
    return commit


def build(project: Project, labels: dict[str, str], base: str) -> str:
    """The id of the image; its files lie in ``build/image`` afterwards."""
    shutil.rmtree(project / FOLDER, ignore_errors=True)
    files, site = project / FOLDER / "files/app", project / FOLDER / "packages/app/site"
    files.mkdir(parents=True)
    (project / FOLDER / LOG).mkdir()
    _gather(project, files)
    if model_digest(files / MODEL) != blessing_of(project).model_digest:
        raise Stop(
            "model-not-blessed",
            "the model in the image is not the one that was blessed: see `make gate`",
        )
    architecture = docker("version", "--format", "{{.Server.Arch}}")
    if architecture not in PLATFORMS:
        raise Stop(
            "architecture",
            f"the engine is of kind {architecture}: build where it is amd64 or arm64",
        )
    _install(project, site, PLATFORMS[architecture])
    for where, inside in ((site, "/app/site"), (files / "src", "/app/src")):
        # A hash of the source in place of its time: the same in every build.
        how = ("-q", "--invalidation-mode", "unchecked-hash", "-s", str(where), "-p", inside)
        compiled = ("-P", "-m", "compileall", *how, str(where))
        _command(project, [str(environments.python("serve")), *compiled], PYTHONHASHSEED="0")
    write_sbom(project, files / "sbom.cdx.json", site, base)
    _settle(project, project / FOLDER)
    say(f"image: building on {base}")
    words = [word for item in labels.items() for word in ("--label", "=".join(item))]
    name = f"{project.name}:building"
    command = ("build", "--quiet", "--tag", name, "--build-arg", f"BASE={base}", *words, "-")
    settled = {"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
    settled["SOURCE_DATE_EPOCH"] = str(EPOCH)
    for left in (1, 0):  # an engine that builds two images at once may lose the files of one
        try:
            with (project / CONTEXT).open("rb") as context:
                docker(*command, given=context, **settled)
            break
        except Stop as stop:
            if not left:
                raise
            say(f"image: {stop}, trying again")
    return docker("image", "inspect", "--format", "{{.Id}}", name)


def _gather(project: Project, files: Path) -> None:
    """The user's code as git has it, the model, and what says what it may be asked."""
    code = (git(project, "ls-files", "-z", "--", "src") or "").split("\0")
    model = (path for path in (project / MODEL).iterdir() if not path.name.startswith("."))
    (files / "src").mkdir()
    paths = [*(project / name for name in code if name), *model, *(project / name for name in KEPT)]
    for path in paths:
        (target := files / path.relative_to(project.root)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def find_base(project: Project) -> tuple[str, str]:
    """The base as it is set, and as NAME@sha256:… where a registry gave it a digest."""
    from gatehouse.core.config.deploy import (
        image_setting,  # late: what has no environment asks the rest
    )

    base = image_setting(project, "base")
    if run("image", "inspect", base).returncode:
        say(f"image: fetching {base}")
        patiently("pull", "--quiet", base)
    found = json.loads(docker("image", "inspect", base))[0]
    digests = found.get("RepoDigests") or []
    digest = digests[0].rpartition("@")[2] if digests else found["Id"]
    name = base.partition("@")[0]
    if "@" not in base and digests:
        say(f"image: pin the base in {PATH} as {name}@{digest}")
    return base, f"{name}@{digest}"


def _install(project: Project, folder: Path, platform: str) -> None:
    """The locked packages, for the platform of the engine."""
    locks = [environments.LOCKS / "serve.txt"]
    if blessing_of(project).serving.format == "skops":
        locks.append(project / FOLDER / "skops.txt")
        locks[-1].write_text(environments.skops_part(), encoding="utf-8")
    say(f"image: laying out the packages of {locks[0]}")
    python, vendor = str(environments.python("serve")), environments.VENDOR
    _command(
        project,
        [
            *(environments.uv(), "pip", "install", "--quiet", "--python", python),
            *("--target", str(folder), "--python-platform", platform, "--only-binary", ":all:"),
            *("--no-deps", "--require-hashes", "--link-mode", "copy"),
            *(("--find-links", str(vendor)) if vendor.is_dir() else ()),
            *(word for lock in locks for word in ("-r", str(lock))),
        ],
    )
    # LightGBM and others want the system's OpenMP, which slim bases lack: scikit-learn's does.
    for openmp in sorted(folder.glob("scikit_learn.libs/libgomp-*"))[:1]:
        (folder / "libgomp.so.1").symlink_to(openmp.relative_to(folder))
    # Programs name the Python of this machine, and none is called; uv notes when a wheel was made.
    shutil.rmtree(folder / "bin", ignore_errors=True)
    (folder / ".lock").unlink(missing_ok=True)
    for record in folder.glob("*.dist-info/RECORD"):
        record.with_name("uv_cache.json").unlink(missing_ok=True)
        lines = record.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = (line for line in lines if not re.match(r"(\.\./)*bin/|[^,]*/uv_cache\.json,", line))
        record.write_text("".join(kept), encoding="utf-8")


def _settle(project: Project, folder: Path) -> None:
    """All files as one archive, with one time and plain rights.

    From a folder BuildKit would not take again what has the size and time that it knows.
    """

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = EPOCH, 0, 0, "", ""
        entry.mode = 0o755 if entry.isdir() else 0o644
        if entry.name == LOG:  # a new volume that is mounted there takes its rights
            entry.mode = 0o1777
        return entry

    with tarfile.open(project / CONTEXT, "w") as context:
        dockerfile = shipped.text(project, DOCKERFILE).encode()
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile)
        context.addfile(plain(entry), io.BytesIO(dockerfile))
        for part in ("packages", "files"):
            for path in sorted((folder / part).rglob("*")):
                name = path.relative_to(folder).as_posix()
                context.add(path, name, recursive=False, filter=plain)


def _command(project: Project, words: Sequence[str], **variables: str) -> None:
    environment = os.environ | variables
    try:
        done = subprocess.run(
            words,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            cwd=project.root,
        )
    except FileNotFoundError:
        raise Stop(
            "program-missing", f"{words[0]} is not here: run `make image`, which makes it"
        ) from None
    if done.returncode:
        raise Stop(
            "program-failed",
            f"{Path(words[0]).name} {words[1]} failed: {last_words(done)}",
            INFRASTRUCTURE,
        )


def blessing_of(project: Project) -> "results.Blessing":
    """The blessing of the candidate, whatever it says."""
    from gatehouse.core.config import results

    return results.read_result(project / BLESSING, results.Blessing)


def statement(project: Project, image: str, id_: str, commit: str, base: str) -> dict[str, object]:
    """What the record will say of this image."""
    blessing = blessing_of(project)
    lock = (
        (project / "dvc.lock").read_text(encoding="utf-8")
        if (project / "dvc.lock").exists()
        else ""
    )
    return {
        "image": image,
        "id": id_,
        "model": blessing.model_digest,
        "blessing": file_digest(project / BLESSING),
        "commit": commit,
        "data": {
            "dataset": outs(lock).get("data/dataset.parquet"),
            "test": blessing.digests.get("test_data", ""),
        },
        "base": base,
    }
