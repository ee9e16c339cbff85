"""Lay out what the serving image holds, and build it.

The files come from a Bento, so that BentoML says what belongs to the service, and from the lock.
Nothing is installed inside the image: packages are laid out here, as the lock hashes them, with one
time stamp and plain rights, so that the same inputs give the same layers.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..champion import outs
from ..console import INFRASTRUCTURE, Stop, read_json, say
from ..deploy.docker import docker, last_words, patiently, run
from ..deploy.settings import image_setting, project
from ..digests import MODEL, file_digest, model_digest
from ..git import git
from .sbom import write_sbom

FOLDER = Path("build/image")
CONTEXT = FOLDER / "context.tar"
SERVE = Path(".venv-serve/bin")
DOCKERFILE = Path("deploy/Dockerfile")
BLESSING = Path("blessing.json")
LOG = "files/log"  # where the inference log is mounted
# What the image is made of; the label of the commit must be true of it.
MADE_OF = ("src", "ops", "deploy", "requirements", "pyproject.toml", "schema.yaml", "gates.yaml")
PLATFORMS = {"amd64": "x86_64-unknown-linux-gnu", "arm64": "aarch64-unknown-linux-gnu"}
EPOCH = 1_577_836_800  # 2020-01-01, as good as any


def commit_here() -> str:
    """The commit that the image will name; Stop where what goes into it was not committed."""
    commit = (git("rev-parse", "HEAD") or "").strip()
    if not commit:
        raise Stop("the image names the commit that it is made from: `git commit` first")
    changed = (git("status", "--porcelain", "--", *MADE_OF, "dvc.lock") or "").split("\n")
    if files := [line[3:] for line in changed if line]:
        raise Stop(f"{files[0]} is not committed, and the image names a commit: `git commit` first")
    return commit


def build(labels: dict[str, str], base: str) -> str:
    """The id of the image; its files lie in ``build/image`` afterwards."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    files, site = FOLDER / "files/app", FOLDER / "packages/app/site"
    files.mkdir(parents=True)
    (FOLDER / LOG).mkdir()
    say("image: packing the Bento")
    _pack(files)
    if model_digest(files / MODEL) != read_json(BLESSING).get("model_digest"):
        raise Stop("the model in the Bento is not the one that was blessed: see `make gate`")
    architecture = docker("version", "--format", "{{.Server.Arch}}")
    if architecture not in PLATFORMS:
        raise Stop(f"the engine is of kind {architecture}: build where it is amd64 or arm64")
    _install(site, PLATFORMS[architecture])
    for where, inside in ((site, "/app/site"), (files / "src", "/app/src")):
        # A hash of the source in place of its time: the same in every build.
        how = ("--invalidation-mode", "unchecked-hash", "-s", str(where), "-p", inside)
        compile_ = [str(SERVE / "python"), "-m", "compileall", "-q", *how, str(where)]
        _command(compile_, PYTHONHASHSEED="0")
    write_sbom(files / "sbom.cdx.json", site, base)
    _settle(FOLDER)
    say(f"image: building on {base}")
    words = [word for item in labels.items() for word in ("--label", "=".join(item))]
    name = f"{project()}:building"
    command = ("build", "--quiet", "--tag", name, "--build-arg", f"BASE={base}", *words, "-")
    settled = {"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
    settled["SOURCE_DATE_EPOCH"] = str(EPOCH)
    for left in (1, 0):  # an engine that builds two images at once may lose the files of one
        try:
            with CONTEXT.open("rb") as context:
                docker(*command, given=context, **settled)
            break
        except Stop as stop:
            if not left:
                raise
            say(f"image: {stop}, trying again")
    return docker("image", "inspect", "--format", "{{.Id}}", name)


def _pack(files: Path) -> None:
    """What BentoML takes into a Bento, which is made elsewhere: it would take itself in, too."""
    with tempfile.TemporaryDirectory() as home:
        _command([str(SERVE / "bentoml"), "build", "--output", "tag"], BENTOML_HOME=home)
        bentos = list(Path(home, "bentos").glob("*/*/src"))
        if len(bentos) != 1:
            raise Stop("BentoML packed no Bento: run `make bento` and read what it says")
        for path in bentos[0].iterdir():
            if path.name not in ("bentofile.yaml", "requirements"):
                shutil.move(path, files / path.name)


def find_base() -> tuple[str, str]:
    """The base as it is set, and as NAME@sha256:… where a registry gave it a digest."""
    base = image_setting("base")
    if run("image", "inspect", base).returncode:
        say(f"image: fetching {base}")
        patiently("pull", "--quiet", base)
    found = json.loads(docker("image", "inspect", base))[0]
    digests = found.get("RepoDigests") or []
    digest = digests[0].rpartition("@")[2] if digests else found["Id"]
    name = base.partition("@")[0]
    if "@" not in base and digests:
        say(f"image: pin the base in deploy/settings.yaml as {name}@{digest}")
    return base, f"{name}@{digest}"


def _install(folder: Path, platform: str) -> None:
    """The locked packages, for the platform of the engine."""
    blessing = read_json(BLESSING)
    lock = "serve-skops" if blessing["serving"]["format"] == "skops" else "serve"
    python = str(SERVE / "python")
    say(f"image: laying out the packages of requirements/{lock}.txt")
    _command(
        [
            *("uv", "pip", "install", "--quiet", "--python", python, "--target", str(folder)),
            *("--python-platform", platform, "--only-binary", ":all:", "--no-deps"),
            *("--require-hashes", "--link-mode", "copy", "-r", f"requirements/{lock}.txt"),
        ]
    )
    # LightGBM and others want the system's OpenMP, which slim bases lack: scikit-learn's does.
    for openmp in sorted(folder.glob("scikit_learn.libs/libgomp-*"))[:1]:
        (folder / "libgomp.so.1").symlink_to(openmp.relative_to(folder))
    # Programs name the Python of this machine, and none is called.
    shutil.rmtree(folder / "bin", ignore_errors=True)
    (folder / ".lock").unlink(missing_ok=True)


def _settle(folder: Path) -> None:
    """All files as one archive, with one time and plain rights.

    From a folder BuildKit would not take again what has the size and time that it knows.
    """

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = EPOCH, 0, 0, "", ""
        entry.mode = 0o755 if entry.isdir() else 0o644
        if entry.name == LOG:  # a new volume that is mounted there takes its rights
            entry.mode = 0o1777
        return entry

    with tarfile.open(CONTEXT, "w") as context:
        context.add(DOCKERFILE, "Dockerfile", filter=plain)
        for part in ("packages", "files"):
            for path in sorted((folder / part).rglob("*")):
                name = path.relative_to(folder).as_posix()
                context.add(path, name, recursive=False, filter=plain)


def _command(words: Sequence[str], **variables: str) -> None:
    # Both BentoML and we want the uv that lies beside this Python.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = os.environ | {"PATH": path} | variables
    try:
        done = subprocess.run(
            words, env=environment, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError:
        raise Stop(f"{words[0]} is not here: run `make image`, which makes it") from None
    if done.returncode:
        raise Stop(f"{Path(words[0]).name} {words[1]} failed: {last_words(done)}", INFRASTRUCTURE)


def statement(image: str, id_: str, commit: str, base: str) -> dict[str, object]:
    """What the record will say of this image."""
    blessing = read_json(BLESSING)
    lock = Path("dvc.lock").read_text(encoding="utf-8") if Path("dvc.lock").exists() else ""
    return {
        "image": image,
        "id": id_,
        "model": blessing["model_digest"],
        "blessing": file_digest(BLESSING),
        "commit": commit,
        "data": {
            "dataset": outs(lock).get("data/dataset.parquet"),
            "test": blessing["digests"]["test_data"],
        },
        "base": base,
    }
