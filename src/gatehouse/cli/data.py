"""Verbs about data: the source, what is known of it, where it is kept."""

from typing import Annotated

import typer

from gatehouse.core import environments

from .app import DAILY, DATA, HERE, verb
from .run import all_of, own, program

Force = Annotated[bool, typer.Option("--force", help="Infer again; your edits are lost.")]


@verb(DAILY)
def setup() -> int:
    """Make the environments from the locks, fetch the data, infer schema.yaml once."""
    environments.ensure("checks")
    environments.ensure("serve")
    return all_of(own("data"), own("schema"))


@verb(DATA)
def data() -> int:
    """Fetch the source if it is not here, and refuse another than the one recorded."""
    from gatehouse.vcs.source import fetch_source

    return fetch_source(HERE)


@verb(DATA)
def schema(force: Force = False) -> int:
    """Infer schema.yaml from the data, once."""
    from gatehouse.data.describe import init

    return init(HERE, force=force)


@verb(DAILY)
def push() -> int:
    """Push the data and the run cache, then the branch that is checked out."""
    from gatehouse.vcs.data_branch import push

    return push(HERE)


@verb(DATA, "checks-page")
def checks_page(
    what: Annotated[str, typer.Argument(help="data or model", metavar="data|model")],
) -> int:
    """Draw reports/WHAT-checks.html: Deepchecks with all its charts."""
    from gatehouse.gates.run_checks import draw

    environments.ensure("checks")
    return draw(HERE, what)


@verb(DATA)
def clean() -> int:
    """Remove the environments and everything that `setup` and `pipeline` make again."""
    import shutil
    from pathlib import Path

    folders = (".venv-checks", ".venv-serve", ".uv", ".mlflow", "model", "champion")
    for name in (*folders, "predictions", "reports"):
        shutil.rmtree(name, ignore_errors=True)
    made = (
        "metrics.json",
        "blessing.json",
        *(f"data/{n}.parquet" for n in ("dataset", "train", "test", "reference")),
    )
    for file in made:
        Path(file).unlink(missing_ok=True)
    shutil.rmtree(".venv", ignore_errors=True)  # last: this runs in it
    return 0


@verb(DATA)
def hooks() -> int:
    """Look at every commit before it is made: format, lint, secrets, size, data."""
    return program("prek", "install", "--quiet")
