"""What the documentation claims is what the tests and the files say."""

import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import gate_table
import pytest
import yaml
from baked import BakedProject
from real_tables import TABLES

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/gate-table.md"


def rules(gate: str) -> set[str]:
    """The rules that the page lists under one gate."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {gate}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    return {row.split(" | ")[0].removeprefix("| ") for row in rows[1:]}


def test_the_table_of_gates_is_what_the_tests_say(request: pytest.FixtureRequest) -> None:
    from conftest import EVERY_TEST

    before = PAGE.read_text(encoding="utf-8")
    if tests := request.config.stash.get(EVERY_TEST, None):
        seen = gate_table.shown(tests)
        assert gate_table.one_sided(seen) == []
        after = gate_table.render(seen)
    else:  # who asks for this test alone has not collected the others
        command = [sys.executable, str(ROOT / "scripts/gate_table.py")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        after = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(before, encoding="utf-8")
        assert done.returncode == 0, done.stdout + done.stderr
    assert after == before, "run `make gate-table` and commit docs/gate-table.md"


def test_the_table_of_attacks_is_what_the_tests_say() -> None:
    from attack_table import PAGE, attacks, page

    assert len([*attacks()]) > 15
    text = PAGE.read_text("utf-8")
    assert page(text) == text, "run `python scripts/attack_table.py` and commit docs/security.md"


def test_the_table_has_every_check_and_every_bound(example: BakedProject) -> None:
    from gatehouse.core.config.rules import BOUNDS

    gates: dict[str, Any] = example.yaml("gates.yaml")
    known: dict[str, Any] = yaml.safe_load(
        (files("gatehouse") / "checks/checks.yaml").read_text("utf-8")
    )
    for what in ("data", "model"):
        assert set(known[what]) == set(gates[f"{what}_checks"]["checks"])
        assert set(known[what]) <= rules(f"checks of the {what}")
    assert set(BOUNDS) <= rules("blessing")


def test_the_page_of_real_tables_has_every_table() -> None:
    lines = (ROOT / "docs/real-tables.md").read_text(encoding="utf-8").splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    shown = {row[0]: row[1:3] for row in cells if len(row) > 2 and row[0] not in ("table", "---")}
    expected = {name: [table.why, f"{table.rows:,}"] for name, table in TABLES.items()}
    assert shown == expected, "run `make real-tables` and commit docs/real-tables.md"


def test_the_steps_are_as_many_as_the_page_says(example: BakedProject) -> None:
    page = (ROOT / "docs/github.md").read_text(encoding="utf-8")
    section = page.split("\n## How many steps\n")[1].split("\n## ")[0]
    blocks = re.findall(r"(\d+)(?: more)?[^\d\n]*:[^\n]*\n\n```sh\n(.*?)```", section, re.DOTALL)
    assert len(blocks) == section.count("```sh") == 5
    for said, lines in blocks:
        assert len(lines.splitlines()) == int(said), lines
    push, report, _, deployment, _ = (int(said) for said, _ in blocks)
    assert (push < 9, report < 6, deployment < 8) == (True, True, True)
    words = re.findall(r"^make ([a-z ]+)", section, re.MULTILINE)
    assert {verb for line in words for verb in line.split()} <= set(
        re.findall(r"^([a-z]+):", example.read("Makefile"), re.MULTILINE)
    )


def test_every_page_is_in_the_index_and_every_link_leads_somewhere() -> None:
    docs = ROOT / "docs"
    index = (docs / "index.md").read_text(encoding="utf-8")
    pages = sorted(docs.glob("*.md"))
    for page in pages:
        assert page.name == "index.md" or f"({page.name})" in index, page.name
    for page in [*pages, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        text = page.read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_yaml_in_the_docs_is_yaml() -> None:
    found = 0
    for page in (ROOT / "docs").glob("*.md"):
        for block in page.read_text(encoding="utf-8").split("```yaml\n")[1:]:
            assert yaml.safe_load(block.split("```")[0]) is not None, page.name
            found += 1
    assert found > 3
