"""The blessed model as a wheel: ``gatehouse wheel`` writes it into ``dist/``.

Installed elsewhere it answers as the service does, without a server, this repository or pandas
(``from …_model import predict``). It holds the model and what says what it may be asked; what reads
them is this library, of this version. The same model and files give the same bytes.
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

from gatehouse.core.digests import CARD, MODEL, Format
from gatehouse.core.errors import InputError
from gatehouse.core.files import read_json, whole_file
from gatehouse.core.project import Project
from gatehouse.core.shipped import package
from gatehouse.core.version import __version__
from gatehouse.serving.derived import module_of
from gatehouse.serving.direct import Direct
from gatehouse.serving.predictor import load

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

from gatehouse.serving.direct import Direct, Invalid
from gatehouse.serving.predictor import load

_direct = Direct(load(Path(__file__).parent))
MODEL_DIGEST = _direct.digest
predict = _direct.predict
predict_batch = _direct.predict_batch

__all__ = ["MODEL_DIGEST", "Invalid", "predict", "predict_batch"]
'''


def build(project: Project) -> str:
    """Write the wheel, and say what it is; raises ``InputError`` where the model is not blessed."""
    predictor = load(project.root)
    digest = Direct(predictor).digest
    own = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module = f"{package(project)}_model"
    about = {
        "name": f"{own['name']}-model",
        "version": f"{own['version']}+{digest.removeprefix('sha256:')[:12]}",
        "description": f"Predictions of the blessed model {digest}",
        "requires-python": own["requires-python"],
        "dependencies": dependencies(predictor.format),
    }
    # The backend of just this version comes with uv itself.
    backend = {"requires": [f"uv_build=={version('uv')}"], "build-backend": "uv_build"}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "src", module)
        if own := module_of(read_json(project / MODEL / CARD)):
            root.mkdir(parents=True)
            shutil.copyfile(project / own, root / Path(own).name)
        for path in contents(project):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, root / path)
        (root / "__init__.py").write_text(INIT.format(digest=digest), encoding="utf-8")
        # A string of JSON is a string of TOML, and so is a list of them.
        tables = {
            "project": about,
            "build-system": backend,
            "tool.uv.build-backend": {"module-name": module},
        }
        lines = [
            f"[{name}]\n" + "".join(f"{key} = {json.dumps(table[key])}\n" for key in table)
            for name, table in tables.items()
        ]
        Path(folder, "pyproject.toml").write_text("\n".join(lines), encoding="utf-8")
        for path in (path for path in Path(folder).rglob("*") if path.is_file()):
            path.chmod(0o644)  # the modes go into the wheel
        command = [sys.executable, "-P", "-m", "uv", "build", "--no-config", "--quiet", "--wheel"]
        command += ["--offline", folder]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("UV_")}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, cwd=project.root
        )
        if done.returncode:
            said = " ".join(done.stderr.split())
            raise InputError(
                "wheel-failed", f"uv could not build the wheel ({said}): run `make setup` again"
            )
        [made] = Path(folder, "dist").glob("*.whl")
        out = OUT / made.name
        with whole_file(project / out) as draft:
            shutil.copyfile(made, draft)
    return f"{out} ({(project / out).stat().st_size / 1024:,.0f} KiB)"


def contents(project: Project) -> list[Path]:
    """What goes in: the model, and what it is checked against."""
    model = (path for path in (project / MODEL).iterdir() if not path.name.startswith("."))
    return [*map(Path, FILES), *model]


def dependencies(serves: Format) -> list[str]:
    """The library, and versions as in this environment, which has those of the lock."""
    majors = [re.match(r"\d+\.\d+", version(name)) for name in COMPATIBLE]
    found = [f"{n}~={m[0]}" for n, m in zip(COMPATIBLE, majors, strict=True) if m]
    exact = [f"{name}=={version(name)}" for name in EXACT[serves]]
    return [f"gatehouse-ml=={__version__}", *found, *exact]
