"""The template's own workflows hold to the house style; its scripts do what the workflows ask."""

import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
ORDER = ["name", "run-name", True, "permissions", "concurrency", "env", "defaults", "jobs"]
sys.path.insert(0, str(ROOT / "scripts"))

import notes  # noqa: E402
import pins  # noqa: E402


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.stem)
def text(request: pytest.FixtureRequest) -> str:
    return str(request.param.read_text(encoding="utf-8"))


@pytest.fixture
def workflow(text: str) -> dict[Any, Any]:
    loaded = yaml.safe_load(text)
    assert isinstance(loaded, dict)
    return loaded


def steps(workflow: dict[Any, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_the_head_says_what_when_and_how_on_a_laptop(text: str) -> None:
    head = text.split("\nname:")[0]
    assert all(line.startswith("# ") for line in head.splitlines())
    assert all(word in head for word in ("# When:", "# Secrets:", "# On a laptop:"))
    assert len(text.splitlines()) < 150


def test_keys_stand_in_their_order(workflow: dict[Any, Any]) -> None:
    assert list(workflow) == [key for key in ORDER if key in workflow]
    assert {"run-name", "permissions", "concurrency", "defaults"} <= workflow.keys()


def test_jobs_get_what_they_need_and_no_more(text: str, workflow: dict[Any, Any]) -> None:
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        assert "permissions" in job, name
        assert job["timeout-minutes"] <= 120, name
    grants = re.findall(r"^ {6}[a-z-]+: (?:read|write)(.*)$", text, re.MULTILINE)
    assert grants
    assert all(grant.startswith(" # ") for grant in grants), "each grant says why"


def test_no_outside_value_is_in_a_script(workflow: dict[Any, Any]) -> None:
    scripts = [step["run"] for step in steps(workflow) if "run" in step]
    assert scripts
    assert not any("${{" in script for script in scripts)
    assert max(len(script.splitlines()) for script in scripts) <= 10


def test_actions_are_pinned_and_checkouts_forget_the_token(
    workflow: dict[Any, Any], text: str
) -> None:
    used = [line for line in text.splitlines() if "uses: " in line]
    assert all(pins.PIN.search(line) for line in used)
    for step in steps(workflow):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_one_required_check_knows_all_jobs() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    last = jobs.pop("pass")
    assert last["if"] == "always()"
    assert set(last["needs"]) == set(jobs)


@pytest.mark.skipif(not shutil.which("jq"), reason="jq is not here")
@pytest.mark.parametrize("result", ["success", "failure", "skipped", "cancelled"])
def test_the_required_check_takes_nothing_but_success(result: str) -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    needs = {"lint": {"result": "success"}, "slow": {"result": result}}
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", jobs["pass"]["steps"][0]["run"]],
        env={"NEEDS": json.dumps(needs), "PATH": str(Path(shutil.which("jq") or "").parent)},
        check=False,
        capture_output=True,
    )
    assert (done.returncode == 0) is (result == "success")


def test_a_release_restores_no_cache() -> None:
    assert "cache" not in (ROOT / ".github/workflows/release.yml").read_text().split("\nname:")[1]


def test_new_packages_never_run_beside_a_token_that_writes() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/update.yml").read_text())["jobs"]
    for job in jobs.values():
        writes = "write" in job["permissions"].values()
        runs = any(
            "make " in s.get("run", "") or "python" in s.get("run", "") for s in job["steps"]
        )
        assert not (writes and runs)


# --- pins ---------------------------------------------------------------------------------------

OLD, NEW, YOUNG = "a" * 40, "b" * 40, "c" * 40


def release(tag: str, days: int, **more: bool) -> dict[str, Any]:
    moment = datetime.now(UTC) - timedelta(days=days)
    published = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"tag_name": tag, "draft": False, "prerelease": False, "published_at": published} | more


RECORDED: dict[str, Any] = {
    "repos/actions/checkout/releases?per_page=100": [
        release("v7.0.0", 3),
        release("v6.9.0-beta", 30),
        release("v6.8.0", 30, prerelease=True),
        release("v6.7.0", 30, draft=True),
        release("v5.9.9", 8),
        release("v6.10.1", 20),
        release("v6.9.0", 40),
        release("v6", 20),
    ],
    "repos/actions/checkout/commits/v6.10.1": {"sha": NEW},
    "repos/actions/cache/releases?per_page=100": [release("v5.0.4", 90)],
    "repos/actions/cache/commits/v5.0.4": {"sha": OLD},
}


def workflow_file(folder: Path, *lines: str) -> Path:
    path = folder / "workflows" / "ci.yml"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"      - uses: {line}\n" for line in lines), encoding="utf-8")
    return path


def test_an_action_gets_its_newest_release_that_is_a_week_old(tmp_path: Path) -> None:
    path = workflow_file(
        tmp_path,
        f"actions/checkout@{OLD} # v6.0.2",
        f"actions/cache/restore@{YOUNG} # v5.0.5",
        "./.github/actions/setup",
    )
    assert pins.main(RECORDED.__getitem__, tmp_path) == 0
    assert path.read_text().splitlines() == [
        f"      - uses: actions/checkout@{NEW} # v6.10.1",
        f"      - uses: actions/cache/restore@{YOUNG} # v5.0.5",  # never an older one
        "      - uses: ./.github/actions/setup",
    ]
    before = path.stat().st_mtime_ns
    assert pins.main(RECORDED.__getitem__, tmp_path) == 0
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "line", ["actions/checkout@v6", f"actions/checkout@{OLD}", f"a/b@{OLD} # v6"]
)
def test_what_is_not_pinned_is_refused_and_nothing_written(
    tmp_path: Path, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = workflow_file(tmp_path, f"actions/checkout@{OLD} # v6.0.2", line)
    before = path.read_text()
    assert pins.main(RECORDED.__getitem__, tmp_path) == 2
    assert "ci.yml, line 2: pin it" in capsys.readouterr().err
    assert path.read_text() == before


def test_a_github_that_does_not_answer_is_infrastructure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def silent(path: str) -> Any:
        raise OSError(f"gh api {path}: HTTP 503")

    workflow_file(tmp_path, f"actions/checkout@{OLD} # v6.0.2")
    assert pins.main(silent, tmp_path) == 3
    assert "HTTP 503" in capsys.readouterr().err


def test_a_commit_that_is_none_is_not_written(tmp_path: Path) -> None:
    path = workflow_file(tmp_path, f"actions/checkout@{OLD} # v6.0.2")
    answers = RECORDED | {"repos/actions/checkout/commits/v6.10.1": {"sha": "main; curl x"}}
    assert pins.main(answers.__getitem__, tmp_path) == 3
    assert OLD in path.read_text()


def test_every_pin_inside_the_template_can_be_read() -> None:
    for path in (path for folder in pins.FOLDERS for path in folder.rglob("*.yml")):
        text = path.read_text(encoding="utf-8")
        assert pins.pinned(text, path.name, lambda _: None) == text


# --- notes --------------------------------------------------------------------------------------

LOG = "# Changelog\n\n## Unreleased\n\n## 1.1.0 - 2026-12-01\n\n- new\n\n## 1.0.0 - 2026-11-01\n\n- old\n"


def test_notes_are_the_section_of_the_tag() -> None:
    assert notes.notes("v1.1.0", LOG) == "- new\n"
    assert notes.notes("v1.0.0", LOG) == "- old\n"


@pytest.mark.parametrize(
    ("tag", "log", "said"),
    [
        ("v1.2.0", LOG, "no text stands under"),
        ("1.1.0", LOG, "is no version"),
        ("v1.1.0$(id)", LOG, "is no version"),
        ("v1.1.0", LOG.replace("Unreleased\n", "Unreleased\n\n- late\n"), "text under Unreleased"),
        ("v1.1.0", LOG.replace("\n- new", ""), "no text stands under"),
        ("v1.1.0", LOG.replace(" - 2026-12-01", ""), "no text stands under"),
    ],
)
def test_a_tag_whose_notes_are_not_ready_is_refused(tag: str, log: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        notes.notes(tag, log)
