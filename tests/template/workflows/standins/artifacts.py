"""actions/upload-artifact and actions/download-artifact, kept as zip files in the hub."""

import fnmatch
import hashlib
import json
import os
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from workflows.standins.step import absolute, fail, files, hub, inputs, lines, output, warn


@dataclass(frozen=True)
class Artifact:
    """One artifact of a run; its files are in ``<run>/<id>.zip``."""

    id: int
    run_id: int
    name: str
    digest: str
    size: int

    def zip(self, folder: Path) -> Path:
        return folder / str(self.run_id) / f"{self.id}.zip"


def artifacts(folder: Path, run_id: int) -> list[Artifact]:
    """The artifacts of a run, in the order they came."""
    notes = sorted((folder / str(run_id)).glob("*.json"), key=lambda path: int(path.stem))
    return [Artifact(**json.loads(note.read_text(encoding="utf-8"))) for note in notes]


def _next_id(folder: Path) -> int:
    number = 1
    while True:  # jobs run side by side
        try:
            (folder / f".{number}").touch(exist_ok=False)
        except FileExistsError:
            number += 1
        else:
            return number


def _root(paths: list[str], found: set[Path]) -> Path:
    """The folder that names in the artifact are relative to."""
    search = {_search_path(path) for path in paths}
    search = {one for one in search if not any(one != b and one.is_relative_to(b) for b in search)}
    if len(search) > 1:
        return Path(os.path.commonpath(search))
    (only,) = search
    return only.parent if found == {only} else only


def _search_path(pattern: str) -> Path:
    """The part of a pattern before its first wildcard."""
    parts = Path(pattern).parts
    fixed = next((i for i, part in enumerate(parts) if set(part) & set("*?[")), len(parts))
    return Path(*parts[:fixed])


def _is_hidden(path: Path, paths: list[str]) -> bool:
    """Whether a part of the name that the pattern did not spell out begins with a dot."""
    named = {part for pattern in paths for part in Path(pattern).parts[:-1]}
    rest = [part for part in path.parts if part not in named]
    return any(part.startswith(".") for part in rest)


def put(folder: Path, run_id: int, name: str, content: Mapping[str, bytes]) -> tuple[int, str]:
    """Keep an artifact of these files; gives its id and digest."""
    (folder / str(run_id)).mkdir(parents=True, exist_ok=True)
    number = _next_id(folder)
    packed = folder / str(run_id) / f"{number}.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in content.items():
            archive.writestr(path, data)
    digest = hashlib.sha256(packed.read_bytes()).hexdigest()
    made = Artifact(number, run_id, name, digest, packed.stat().st_size)
    packed.with_suffix(".json").write_text(json.dumps(asdict(made)), encoding="utf-8")
    return number, digest


def upload() -> None:
    """Zip what the paths mean; a second artifact of the same name is refused."""
    given = inputs()
    folder, run_id = hub("artifacts"), int(os.environ["GITHUB_RUN_ID"])
    (folder / str(run_id)).mkdir(parents=True, exist_ok=True)
    if given["archive"] == "false":
        fail("archive: false has no stand-in")
    if bad := set(given["name"]) & set('":<>|*?\r\n\\/'):
        fail(f"The artifact name is not valid: {given['name']}. It contains {sorted(bad)}")
    paths, excluded = lines(given["path"])
    found = {path for pattern in paths for path in files(pattern)}
    found -= {path for pattern in excluded for path in files(pattern)}
    if given["include-hidden-files"] != "true":
        found = {path for path in found if not _is_hidden(path, paths)}
    if not found:
        message = f"No files were found with the provided path: {given['path']}"
        if given["if-no-files-found"] == "error":
            fail(message)
        (warn if given["if-no-files-found"] == "warn" else print)(message)
        return
    for old in [one for one in artifacts(folder, run_id) if one.name == given["name"]]:
        if given["overwrite"] != "true":
            fail("Failed to CreateArtifact: an artifact with this name already exists on the run")
        old.zip(folder).with_suffix(".json").unlink()
    root = _root(paths, found)
    content = {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(found)}
    number, digest = put(folder, run_id, given["name"], content)
    output("artifact-id", str(number))
    output("artifact-digest", digest)
    repository = f"{os.environ['GITHUB_SERVER_URL']}/{os.environ['GITHUB_REPOSITORY']}"
    output("artifact-url", f"{repository}/actions/runs/{run_id}/artifacts/{number}")


def download() -> None:
    """Unzip one artifact by name, or those that a pattern means, each in its own folder."""
    given = inputs()
    folder = hub("artifacts")
    elsewhere = given["github-token"] and given["run-id"]
    run_id = int(given["run-id"] if elsewhere else os.environ["GITHUB_RUN_ID"])
    wanted = artifacts(folder, run_id)
    target = Path(absolute(given["path"] or "."))
    if given["artifact-ids"]:
        fail("artifact-ids has no stand-in: download by name")
    if given["name"]:
        wanted = [one for one in wanted if one.name == given["name"]]
        if not wanted:
            fail(f"Unable to download artifact(s): Artifact not found for name: {given['name']}")
    elif given["pattern"]:
        wanted = [one for one in wanted if fnmatch.fnmatchcase(one.name, given["pattern"])]
    single = bool(given["name"]) or given["merge-multiple"] == "true"
    if not single and len(wanted) == 1:
        # Versions of the real action differ in whether a lone match gets a folder of its own.
        fail(f"{wanted[0].name} alone was found: say its name, or merge-multiple: true")
    target.mkdir(parents=True, exist_ok=True)
    for one in wanted:
        with zipfile.ZipFile(one.zip(folder)) as archive:
            archive.extractall(target if single else target / one.name)
    print(f"Total of {len(wanted)} artifact(s) downloaded")
    output("download-path", str(target))


if __name__ == "__main__":
    {"upload": upload, "download": download}[sys.argv[1]]()
