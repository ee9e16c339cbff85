"""Real tables: see real_tables.py for what they are, real_trial.py for what is asked."""

from pathlib import Path

import pytest
from baked import BakedProject
from conftest import Bake
from real_tables import TABLES, cases, write
from real_trial import trial

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", cases())
def test_from_generation_to_verdict(
    name: str,
    packages: Path,
    bake: Bake,
    environments: BakedProject,
    tmp_path: Path,
) -> None:
    table, source = TABLES[name], tmp_path / f"{name}.csv"
    write(table, packages, source)
    project = bake(
        project_name=f"Real {name}", data=str(source), target=table.target, time_column=table.time
    )
    trial(name, table, project.borrow_environments(environments).be_patient())
