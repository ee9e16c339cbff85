"""The blessed model as a wheel: ``python -m ….wheel`` writes it into ``dist/``.

Installed elsewhere it answers as the service does, without a server, this repository or pandas
(``from …_model import predict``). The same model, code and files give the same bytes.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import version
from pathlib import Path

from .blessed import DIRECTORY, Format
from .service.direct import Direct
from .service.predictor import load
from .stage import InputError, run_stage, whole_file

PACKAGE = Path(__file__).parent
OUT = Path("dist")
FILES = ("schema.yaml", "gates.yaml", "blessing.json")
# What reads files of a stable format takes any later version of the same major.
COMPATIBLE = ("numpy", "onnxruntime", "pydantic", "pyyaml")
# What rebuilds Python objects promises nothing across versions.
EXACT = {"onnx": (), "skops": ("pandas", "scikit-learn", "skops")}

INIT = '''"""Predictions of the blessed model {digest}, without a server.

``predict`` takes one row, ``predict_batch`` rows: dictionaries of the feature columns, by the names
and with the strict types of the service. A row that is refused raises ``Invalid``.
"""

from pathlib import Path

from .service.direct import Direct, Invalid
from .service.predictor import load

_direct = Direct(load(Path(__file__).parent))
MODEL_DIGEST = _direct.digest
predict = _direct.predict
predict_batch = _direct.predict_batch

__all__ = ["MODEL_DIGEST", "Invalid", "predict", "predict_batch"]
'''


def build() -> str:
    """Write the wheel; raises ``InputError`` where the model is not blessed."""
    predictor = load(Path())
    digest = Direct(predictor).digest
    own = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    release = f"{own['project']['version']}+{digest.removeprefix('sha256:')[:12]}"
    module = f"{PACKAGE.name}_model"
    about = {
        "name": f"{own['project']['name']}-model",
        "version": release,
        "description": f"Predictions of the blessed model {digest}",
        "requires-python": own["project"]["requires-python"],
        "dependencies": dependencies(predictor.format),
    }
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "src", module)
        for source, target in contents().items():
            (root / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, root / target)
        (root / "__init__.py").write_text(INIT.format(digest=digest), encoding="utf-8")
        # A string of JSON is a string of TOML, and so is a list of them.
        tables = {
            "project": about,
            "build-system": own["build-system"],
            "tool.uv.build-backend": {"module-name": module},
        }
        lines = [
            f"[{name}]\n" + "".join(f"{key} = {json.dumps(table[key])}\n" for key in table)
            for name, table in tables.items()
        ]
        Path(folder, "pyproject.toml").write_text("\n".join(lines), encoding="utf-8")
        for path in (path for path in Path(folder).rglob("*") if path.is_file()):
            path.chmod(0o644)  # the modes go into the wheel
        command = [sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--offline", folder]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("UV_")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            said = " ".join(done.stderr.split())
            raise InputError(f"uv could not build the wheel ({said}): run `make setup` again")
        [made] = Path(folder, "dist").glob("*.whl")
        with whole_file(OUT / made.name) as draft:
            shutil.copyfile(made, draft)
    return f"{OUT / made.name} ({(OUT / made.name).stat().st_size / 1024:,.0f} KiB)"


def contents() -> dict[Path, Path]:
    """What goes in: the model, what it is checked against, and the modules that loading it took."""
    prefix = f"{__package__}."
    modules = [
        Path(str(module.__file__)) for n, module in sys.modules.items() if n.startswith(prefix)
    ]
    found = {path: path.relative_to(PACKAGE) for path in modules if path.suffix == ".py"}
    found |= {Path(name): Path(name) for name in FILES}
    return found | {path: path for path in DIRECTORY.iterdir() if not path.name.startswith(".")}


def dependencies(serves: Format) -> list[str]:
    """Versions as in this environment, which has those of the lock."""
    majors = [re.match(r"\d+\.\d+", version(name)) for name in COMPATIBLE]
    found = [f"{n}~={m[0]}" for n, m in zip(COMPATIBLE, majors, strict=True) if m]
    return found + [f"{name}=={version(name)}" for name in EXACT[serves]]


if __name__ == "__main__":
    run_stage("wheel", build)
