"""The stand-ins of GitHub's actions do what a workflow can tell from the real ones."""

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from workflows.runner import ACTIONS, TESTS
from workflows.standins.artifacts import artifacts


@dataclass
class Step:
    """One use of a stand-in, in a workspace of its own."""

    workspace: Path
    hub: Path
    said: str = ""

    def use(self, action: str, ref: str = "refs/heads/main", code: int = 0, **given: str) -> Any:
        """Run the action; its outputs."""
        read = yaml.safe_load((ACTIONS / action / "action.yml").read_text(encoding="utf-8"))
        inputs = {name: about.get("default", "") for name, about in read["inputs"].items()}
        inputs |= {name.replace("_", "-"): value for name, value in given.items()}
        command = read["runs"]["steps"][0]["run"].partition(" -m ")[2].split()
        output, event = self.hub / "output", self.hub / "event.json"
        output.write_text("", encoding="utf-8")
        event.write_text(json.dumps({"repository": {"default_branch": "main"}}), encoding="utf-8")
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(TESTS),
            "INPUTS": json.dumps(inputs),
            "HARNESS_HUB": str(self.hub),
            "HOME": str(self.hub / "home"),
            "RUNNER_TEMP": str(self.hub / "temp"),
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_EVENT_PATH": str(event),
            "GITHUB_REF": ref,
            "GITHUB_BASE_REF": "main" if "pull" in ref else "",
            "GITHUB_RUN_ID": "7",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": "acme/widget",
        }
        done = subprocess.run(
            [sys.executable, "-S", "-m", *command],
            env=env,
            cwd=self.workspace,
            capture_output=True,
            text=True,
            check=False,
        )
        self.said = done.stdout + done.stderr
        assert done.returncode == code, self.said
        told = output.read_text(encoding="utf-8").split("END_OF_VALUE\n")
        pairs = zip(told[::2], told[1::2], strict=False)
        return {name.removesuffix("<<"): value.rstrip("\n") for name, value in pairs}

    def write(self, *names: str) -> None:
        for name in names:
            path = self.workspace / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name, encoding="utf-8")

    def kept(self, name: str) -> list[str]:
        """The files in an artifact."""
        folder = self.hub / "artifacts"
        (found,) = [one for one in artifacts(folder, 7) if one.name == name]
        return sorted(zipfile.ZipFile(found.zip(folder)).namelist())

    def here(self) -> list[str]:
        paths = self.workspace.rglob("*")
        return sorted(p.relative_to(self.workspace).as_posix() for p in paths if p.is_file())


@pytest.fixture
def step(tmp_path: Path) -> Step:
    for name in ("workspace", "hub", "hub/temp", "hub/home"):
        (tmp_path / name).mkdir()
    return Step(tmp_path / "workspace", tmp_path / "hub")


@pytest.fixture
def other(step: Step, tmp_path: Path) -> Step:
    """A step of another job: an empty workspace, the same hub."""
    (tmp_path / "other").mkdir()
    return Step(tmp_path / "other", step.hub)


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("reports/", ["a.json", "b.md", "deep/c.md"]),
        ("reports/a.json", ["a.json"]),
        ("reports/*.md", ["b.md"]),
        ("reports/**/*.md", ["b.md", "deep/c.md"]),
        ("metrics.json\nreports/a.json", ["metrics.json", "reports/a.json"]),
        ("reports/a.json\nreports/b.md", ["a.json", "b.md"]),
        ("reports/deep\nreports/a.json", ["a.json", "deep/c.md"]),
        ("reports\nreports/a.json", ["a.json", "b.md", "deep/c.md"]),
        ("reports\n!reports/**/*.md", ["a.json"]),
        ("metrics.json\nnot-there.json", ["metrics.json"]),
        ("reports/.hidden", ["reports/.hidden"]),
    ],
)
def test_names_in_an_artifact_begin_where_the_paths_part(
    step: Step, path: str, kept: list[str]
) -> None:
    step.write("metrics.json", "reports/a.json", "reports/b.md", "reports/deep/c.md")
    step.write("reports/.hidden")
    hidden = ".hidden" in path
    step.use("upload-artifact", name="x", path=path, include_hidden_files="true" if hidden else "")
    assert step.kept("x") == ([".hidden"] if hidden else kept)


def test_hidden_files_stay_out_and_nothing_is_no_artifact(step: Step) -> None:
    step.write("reports/.hidden")
    assert step.use("upload-artifact", name="x", path="reports") == {}
    assert "::warning::No files were found" in step.said
    step.use("upload-artifact", name="x", path="reports", if_no_files_found="error", code=1)
    step.use("upload-artifact", name="x", path="reports", if_no_files_found="ignore")
    assert "::" not in step.said
    step.use("upload-artifact", name="a/b", path="reports", code=1)
    assert "not valid" in step.said


def test_a_name_is_used_once(step: Step) -> None:
    step.write("a", "b")
    first = step.use("upload-artifact", name="x", path="a")
    assert first["artifact-url"].endswith(
        f"/acme/widget/actions/runs/7/artifacts/{first['artifact-id']}"
    )
    step.use("upload-artifact", name="x", path="b", code=1)
    assert "already exists" in step.said
    step.use("upload-artifact", name="x", path="b", overwrite="true")
    assert step.kept("x") == ["b"]


def test_artifacts_are_found_by_name_or_pattern(step: Step, other: Step) -> None:
    step.write("one.md", "two.md")
    step.use("upload-artifact", name="report-1", path="one.md")
    other.use("download-artifact", pattern="report-*", path="got", code=1)
    assert "say its name, or merge-multiple: true" in other.said
    step.use("upload-artifact", name="report-2", path="two.md")
    other.use("download-artifact", name="report-3", code=1)
    assert "Artifact not found for name: report-3" in other.said
    other.use("download-artifact", pattern="none-*", path="got")
    assert other.here() == []
    other.use("download-artifact", name="report-1", path="got")
    other.use("download-artifact", pattern="report-*", path="all", merge_multiple="true")
    other.use("download-artifact", path="each")
    assert other.here() == [
        "all/one.md",
        "all/two.md",
        "each/report-1/one.md",
        "each/report-2/two.md",
        "got/one.md",
    ]
    other.use("download-artifact", name="report-1", run_id="8", github_token="t", code=1)


def test_a_cache_is_of_its_key_its_paths_and_its_branch(step: Step, other: Step) -> None:
    pull = "refs/pull/1/merge"
    step.write("store/a")
    step.use("cache/save", path="store", key="k-1")
    step.use("cache/save", path="store", key="k-1")
    assert "exists already" in step.said
    step.use("cache/save", path="nowhere", key="k-2")
    assert "do not exist" in step.said
    assert other.use("cache/restore", path="stores", key="k-1") == {"cache-primary-key": "k-1"}
    assert other.use("cache/restore", path="store", key="k-9", restore_keys="j-") == {
        "cache-primary-key": "k-9"
    }
    found = other.use("cache/restore", path="store", key="k-1", lookup_only="true")
    assert (found["cache-hit"], other.here()) == ("true", [])
    found = other.use("cache/restore", pull, path="store", key="k-9", restore_keys="k-\n")
    assert (found["cache-hit"], found["cache-matched-key"]) == ("false", "k-1")
    assert other.here() == ["store/a"]
    other.use("cache/save", pull, path="store", key="k-3")
    for ref, hit in ((pull, True), ("refs/heads/main", False), ("refs/pull/2/merge", False)):
        found = step.use("cache/restore", ref, path="store", key="k-3", lookup_only="true")
        assert (found.get("cache-hit") == "true") is hit, ref
    other.use("cache/restore", path="store", key="z", fail_on_cache_miss="true", code=1)


def test_a_cache_under_home_or_the_temporary_folder(step: Step) -> None:
    kept = step.hub / "home" / ".cache" / "x"
    kept.mkdir(parents=True)
    (kept / "file").write_text("kept", encoding="utf-8")
    step.use("cache/save", path="~/.cache/x", key="k")
    (kept / "file").unlink()
    step.use("cache/restore", path="~/.cache/x", key="k")
    assert (kept / "file").read_text(encoding="utf-8") == "kept"
    step.use("cache/save", path="/etc/hostname", key="k", code=1)
    assert "lies outside" in step.said


def test_a_checkout_that_keeps_the_token_is_refused(step: Step) -> None:
    step.use("checkout", repository="acme/widget", code=1)
    assert "say persist-credentials: false" in step.said
