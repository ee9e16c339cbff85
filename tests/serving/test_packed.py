"""What a Bento asks for: the library by its path, found where BentoML's image installs it."""

import hashlib
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from gatehouse.core.config.results import Blessed
from gatehouse.serving import packed


def test_the_library_is_had_of_the_bento_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template_dir: Path
) -> None:
    name, content = runpy.run_path(str(template_dir / "scripts/build_wheel.py"))["build"]()
    digest = hashlib.sha256(content).hexdigest()
    for folder in ("vendor", "requirements"):
        (tmp_path / "src" / folder).mkdir(parents=True)
    (tmp_path / "src/vendor" / name).write_bytes(content)
    lock = f"gatehouse-ml==2.0.0 \\\n    --hash=sha256:{digest}\nnumpy==2.4.0\n"
    (tmp_path / "src/requirements/serve.txt").write_text(lock)
    monkeypatch.chdir(tmp_path / "src")
    monkeypatch.setattr(packed, "blessed", lambda _: Blessed("sha256:m", "onnx"))
    lines = packed.requirements()
    assert "gatehouse-ml==" not in lines
    [line] = [line for line in lines.splitlines() if line.startswith("./vendor/")]
    assert line == f"./vendor/{name} --hash=sha256:{digest}"
    # As BentoML's image does: the lines lie beside ``src``, which is where uv stands.
    wanted = tmp_path / "env/python/requirements.txt"
    wanted.parent.mkdir(parents=True)
    wanted.write_text(line + "\n")
    command = [
        str(Path(sys.executable).with_name("uv")),
        "--directory",
        str(tmp_path / "src"),
        "pip",
        "install",
    ]
    command += ["--dry-run", "--offline", "--no-deps", "--python", sys.executable]
    command += ["--target", str(tmp_path / "there"), "--requirement", str(wanted)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "src/vendor" / name) in done.stderr
