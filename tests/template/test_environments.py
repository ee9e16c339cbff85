"""Each lock, on each Python it is for, imports and does what it is there for."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from baked import BakedProject
from conftest import Bake

from gatehouse.core import environments

pytestmark = pytest.mark.slow

TRAIN = """
import tempfile, pathlib
import dvc.api, mlflow, pandera.pandas, pyarrow.parquet, ruamel.yaml, skops.io
import numpy, pandas, sklearn
from sklearn.ensemble import HistGradientBoostingClassifier
x = pandas.DataFrame({"x": range(100)})
model = HistGradientBoostingClassifier().fit(x, x["x"] > 50)
raw = skops.io.dumps(model)
same = skops.io.loads(raw, trusted=skops.io.get_untrusted_types(data=raw))
assert (same.predict(x) == model.predict(x)).all()
"""
SIGN = """
import pathlib, model_signing
pathlib.Path("file").write_text("x")
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric import ec
key = ec.generate_private_key(ec.SECP256R1())
kinds = s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()
pathlib.Path("key").write_bytes(key.private_bytes(*kinds))
model_signing.signing.Config().use_elliptic_key_signer(private_key="key").sign("file", "file.sig")
"""
SERVE = """
import httptools, jwt, numpy, onnxruntime, prometheus_client, pydantic, uvicorn, yaml
"""
BENTO = f"""{SERVE}
import bentoml
@bentoml.service
class Echo:
    @bentoml.api
    def say(self, word: str) -> str:
        return word
assert Echo.to_asgi()
"""
BENTO_SKOPS = f"{BENTO}import pandas, skops.io, sklearn\n"
CHECKS = """
import pandas
from deepchecks.tabular import Dataset
from deepchecks.tabular.checks import FeatureLabelCorrelation
frame = pandas.DataFrame({"x": range(100), "y": [k % 2 for k in range(100)]})
check = FeatureLabelCorrelation().add_condition_feature_pps_less_than(0.9)
assert check.run(Dataset(frame, label="y", cat_features=[])).passed_conditions()
"""
QUIET = {
    "BENTOML_DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DISABLE_DEEPCHECKS_ANONYMOUS_TELEMETRY": "true",
}


def interpreter(version: str) -> str:
    """A Python of this version from PATH or pyenv; the test is skipped where there is none."""
    found = shutil.which(f"python{version}")
    if (
        found
        and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0
    ):
        return found
    if shutil.which("pyenv"):
        command = ["pyenv", "versions", "--bare"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        for name in listed:
            if name.startswith(f"{version}."):
                command = ["pyenv", "prefix", name]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                return str(Path(done.stdout.strip()) / "bin/python")
    pytest.skip(f"no Python {version} on this machine")


@pytest.mark.parametrize(
    ("lock", "version", "script"),
    [
        ("train sign", "3.12", TRAIN + SIGN),
        ("train sign", "3.13", TRAIN + SIGN),
        ("serve", "3.12", SERVE),
        ("serve", "3.13", SERVE),
        ("serve bento", "3.12", BENTO),
        ("serve skops bento", "3.13", BENTO_SKOPS),
        ("checks", "3.12", CHECKS),
    ],
)
def test_a_lock_runs_on_another_python(
    lock: str, version: str, script: str, bake: Bake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the parts that come on top of it, as the library makes an environment."""
    project = bake()
    project.write(".python-version", interpreter(version))
    monkeypatch.chdir(project.path)
    monkeypatch.setattr(environments, "CHECKS_PYTHON", interpreter(version))
    name, *parts = lock.split()
    python = environments.ensure(name, *parts).absolute()
    env = os.environ | QUIET
    command = [str(python), "-W", "ignore", "-c", script]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("folder", "script"), [(".venv", TRAIN), (".venv-serve", BENTO_SKOPS), (".venv-checks", CHECKS)]
)
def test_a_lock_runs_on_the_default_python(
    folder: str, script: str, environments: BakedProject
) -> None:
    python = environments.path / folder / "bin/python"
    done = subprocess.run(
        [python, "-W", "ignore", "-c", script],
        env=os.environ | QUIET,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
