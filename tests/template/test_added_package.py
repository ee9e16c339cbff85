"""A package of one's own in a whole project: added, trained with, and loaded where it serves."""

import os
import subprocess
from pathlib import Path

import pytest
from conftest import bake_into

TRIAL = """
import numpy, skops.io, sys
from lightgbm import LGBMClassifier, LGBMRegressor
trusted = sys.argv[1:]
x = numpy.random.default_rng(0).normal(size=(400, 4)).astype("float32")
for model, y in ((LGBMClassifier(n_estimators=9, verbose=-1), x[:, 0] > 0), (LGBMRegressor(n_estimators=9, verbose=-1), x[:, 1])):
    raw = skops.io.dumps(model.fit(x, y))
    asked = set(skops.io.get_untrusted_types(data=raw))
    assert asked <= set(trusted), asked
    same = skops.io.loads(raw, trusted=sorted(asked))
    assert (same.predict(x) == model.predict(x)).all()
"""


@pytest.mark.slow
def test_lightgbm_is_added_trained_and_loaded_where_it_serves(tmp_path: Path) -> None:
    """In environments of its own: what is shared must not change."""
    project = bake_into(tmp_path)
    project.run("sh", "gatehouse", "add", "lightgbm")
    lock = project.read("requirements/train.txt")
    assert "\nlightgbm==" in lock
    assert "://" not in lock.replace("# ", ""), "no lock names a registry"
    project.run(
        *(".venv/bin/python", "-c"),
        "from gatehouse.core.environments import ensure; ensure('serve', 'skops')",
    )
    project.write("trial.py", TRIAL)
    trusted = project.yaml("gates.yaml")["trusted_types"]
    for environment in (".venv", ".venv-serve"):
        done = subprocess.run(
            [project.path / environment / "bin/python", "trial.py", *trusted],
            cwd=project.path,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
