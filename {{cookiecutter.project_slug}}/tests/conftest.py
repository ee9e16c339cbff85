from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def built() -> Path:
    """The repository, once `make pipeline` has run; tests of data and model need what it made."""
    if not Path("metrics.json").exists():
        pytest.skip("the pipeline has not run: `make pipeline` first")
    return Path.cwd()
