"""What serves a model as ONNX loads little: each package has to be installed, started and audited."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from projects import TEMPLATE
from serving import bless

ROOMS = {"core", "serving"}  # of the library
TOO_MUCH = {
    *("pandas", "sklearn", "scipy", "skops", "pyarrow", "typer", "mlflow", "dvc", "onnx"),
    *("sqlalchemy", "fsspec", "bentoml", "faststream", "jinja2"),
}
ASK = """
import sys
from pathlib import Path
from gatehouse.serving import MODULES
from gatehouse.serving.server import make_app
from gatehouse.serving.direct import Direct
from gatehouse.serving.predictor import load
make_app(Path())
assert Direct(load(Path())).predict({"size €": 0.5})["prediction"] in (True, False)
print(*sorted(sys.modules))
"""


@pytest.mark.parametrize("modules", ["server, precomputed", "consumer, brokers"])
def test_only_what_the_lock_of_serving_holds_is_loaded(tmp_path: Path, modules: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(TEMPLATE / "src")}
    said = subprocess.check_output(
        [sys.executable, "-X", "utf8", "-c", ASK.replace("MODULES", modules)],
        cwd=bless(tmp_path, "binary"), env=environment, encoding="utf-8",
    )  # fmt: skip
    loaded = set(said.split())
    assert "onnxruntime" in loaded
    assert not loaded & TOO_MUCH
    ours = {name.split(".")[1] for name in loaded if name.startswith("gatehouse.")}
    assert ours == ROOMS
