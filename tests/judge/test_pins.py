"""A change of the pin: both verdicts on one candidate, and what the new wheel says of the gates."""

import hashlib
import io
import json
import subprocess
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from gatehouse.core.project import Project
from gatehouse.judge import pins

KNOWN = (files("gatehouse") / pins.LIST).read_text("utf-8")
NEW = "9.0.0: `gap` closes where its whole interval lies beyond."


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet")
    return Project(tmp_path)


def git(*words: str) -> str:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    done = subprocess.run(["git", *who, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def wheel(**texts: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in texts.items():
            archive.writestr(f"gatehouse/files/{name}.txt", text)
    return content.getvalue()


def tree(content: bytes | None, digest: str = "") -> str:
    """What a change brings: a lock, and perhaps a wheel; the wheel is in no work tree."""
    digest = digest or hashlib.sha256(content or b"").hexdigest()
    lock, vendor = (
        Path("requirements/train.txt"),
        Path("vendor/gatehouse_ml-9.0.0-py3-none-any.whl"),
    )
    lock.parent.mkdir(exist_ok=True)
    lock.write_text(f"gatehouse-ml==9.0.0 \\\n    --hash=sha256:{digest}\n")
    if content is not None:
        vendor.parent.mkdir(exist_ok=True)
        vendor.write_bytes(content)
    git("add", "--all")
    made = git("write-tree")
    for path in (lock, vendor):
        path.unlink(missing_ok=True)
    return made


def blessing(blessed: bool, value: float = 0.5, **more: Any) -> str:
    rule = {"metric": "skill", "slice": "all", "candidate": value, "passed": blessed}
    reasons = [] if blessed else ["skill is too low"]
    return json.dumps({"blessed": blessed, "reasons": reasons, "rules": [rule], **more})


def said(project: Project, theirs: str | None, ours: str = "", made: str = "") -> list[str]:
    Path("blessing.json").write_text(ours or blessing(True))
    handed = Path("handed")
    handed.mkdir(exist_ok=True)
    if theirs is not None:
        (handed / "blessing.json").write_text(theirs)
    return pins.told(project, made or tree(wheel(gates=KNOWN)), handed)


def test_both_verdicts_and_where_they_differ(here: Project) -> None:
    same = said(here, blessing(True))
    assert same == [
        "judged by the base's pin: blessed; by the change's, in its own run: blessed",
        "by its own list it changes no gate",
    ]
    first, rule, _ = said(here, blessing(False, 0.25))
    assert first.endswith("blessed; by the change's, in its own run: not blessed: skill is too low")
    assert rule == "skill on all: open at 0.5 by the base's pin, closed at 0.25 by the change's"
    assert (
        "base's pin: not blessed: skill is too low;"
        in said(here, blessing(True), blessing(False))[0]
    )


@pytest.mark.parametrize(
    "theirs", [None, "no JSON", "[]", '{"blessed": "true"}', '{"rules": [3], "reasons": 4}']
)
def test_a_verdict_of_another_form_blesses_nothing(here: Project, theirs: str | None) -> None:
    first = said(here, theirs)[0].partition("in its own run: ")[2]
    assert first in ("no verdict", "not blessed")


def test_attack_the_new_library_hands_over_a_link(here: Project) -> None:
    """ATTACK: the run of a change that brings another library hands over a link, or megabytes, for its verdict | not read: "no verdict" """
    Path("handed").mkdir()
    Path("secret.json").write_text(blessing(True))
    Path("handed/blessing.json").symlink_to(Path("secret.json").resolve())
    assert said(here, None)[0].endswith("no verdict")
    Path("handed/blessing.json").unlink()
    assert said(here, blessing(True, why="x" * pins.TEXT))[0].endswith("no verdict")


def test_the_wheel_says_what_it_changes_in_the_gates(here: Project) -> None:
    made = tree(wheel(gates=f"{NEW}\n{KNOWN}"))
    assert said(here, blessing(True), made=made)[1:] == [f"changes a gate, {NEW}"]
    many = "".join(f"9.0.{n}: more\n" for n in range(25))
    told = said(here, blessing(True), made=tree(wheel(gates=many + KNOWN)))
    assert len(told) == 12
    assert told[-1] == "15 changes of gates more"


@pytest.mark.parametrize(
    ("content", "digest"),
    [(None, ""), (wheel(gates=NEW), "0" * 64), (b"no archive", ""), (wheel(other=NEW), "")],
)
def test_attack_a_wheel_that_is_not_the_pinned_one(
    here: Project, content: bytes | None, digest: str
) -> None:
    """ATTACK: `vendor/` shows a harmless wheel, and the locks name another | its list is not read; the report says so"""
    [_, told] = said(here, blessing(True), made=tree(content, digest))
    assert NEW not in told
    assert "cannot be said here" in told or "can be read" in told


def test_every_line_of_the_list_names_a_version() -> None:
    lines = KNOWN.splitlines()
    assert lines
    assert all(line.partition(": ")[0].replace(".", "").isdigit() for line in lines)
