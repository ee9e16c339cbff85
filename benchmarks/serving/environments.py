"""The environments of the servers that ours is held against, each from its hash-locked file.

``python benchmarks/serving/environments.py`` compiles the locks again.
"""

import subprocess
from pathlib import Path

from common import HERE, UV, run, say

REQUIREMENTS = HERE / "requirements"
PYTHON = "3.11"


def python_of(folder: Path, name: str) -> Path:
    """The interpreter of an environment; made now if it is not there or its lock has changed."""
    lock, place = REQUIREMENTS / f"{name}.txt", folder / "environments" / name
    python, stamp = place / "bin/python", place / ".lock"
    text = lock.read_text(encoding="utf-8")
    if stamp.exists() and stamp.read_text(encoding="utf-8") == text:
        return python
    say(f"environment {name}: installing")
    place.parent.mkdir(parents=True, exist_ok=True)
    uv = str(UV)
    run([uv, "venv", "--quiet", "--clear", "--python", PYTHON, str(place)], folder, "uv venv")
    install = [uv, "pip", "sync", "--quiet", "--compile-bytecode", "--python", str(python)]
    run([*install, "--require-hashes", str(lock)], folder, f"installing {name}")
    stamp.write_text(text, encoding="utf-8")
    return python


def versions(python: Path, packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of those of these packages that an environment has."""
    code = (
        "import sys; from importlib.metadata import distributions\n"
        "have = {d.name.lower(): d.version for d in distributions()}\n"
        "print('python', sys.version.split()[0])\n"
        "for name in sys.argv[1:]:\n"
        "    if name in have: print(name, have[name])"
    )
    said = run([str(python), "-c", code, *packages], python.parent, f"asking {python}")
    return dict(line.split() for line in said.splitlines())


def lock() -> None:
    """Compile every lock."""
    for source in sorted(REQUIREMENTS.glob("*.in")):
        command = [str(UV), "pip", "compile", "--quiet", "--universal", "--python-version", PYTHON]
        command += ["--generate-hashes", "--no-emit-index-url", "--no-emit-find-links"]
        command += ["--custom-compile-command", "python benchmarks/serving/environments.py"]
        command += ["--output-file", f"{source.stem}.txt", source.name]
        subprocess.run(command, cwd=REQUIREMENTS, check=True)


if __name__ == "__main__":
    lock()
