"""``make lock``: compile the locks of a generated project, of the library's parts, and our own.

All hold for Python 3.11 to 3.13 and every system, and name no index. The line of the library itself
has a hash of zeros: the generation hook writes the one of the wheel it builds.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import build_wheel

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "{{cookiecutter.project_slug}}/requirements"
PARTS = ROOT / "src/gatehouse/files/locks"
# What comes on top of which environment, and as which requirement.
ON_SERVE = {part: f"gatehouse-ml[{part}]" for part in ("bento", "nats", "redis", "kafka")}
ON_TRAIN = {part: f"dvc-{part}" for part in ("s3", "gs", "azure", "ssh")}
ON_TRAIN |= {"sign": "gatehouse-ml[sign]"}
NAME = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==", re.MULTILINE)


def compile_(source: Path, out: Path, links: str, *options: str) -> None:
    """One lock; what it pins already stays, but for an upgrade."""
    command = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet"]
    command += [*sys.argv[1:], "--universal", "--python-version", "3.11", "--generate-hashes"]
    command += ["--no-emit-index-url", "--no-emit-find-links", "--find-links", links]
    command += [*options, "--output-file", out.name, str(source)]
    subprocess.run(command, cwd=out.parent, check=True)


def on_top(part: str, requirement: str, base: Path, links: str) -> None:
    """A lock of what a part needs beyond ``base``."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "part.in")
        source.write_text(f"-c {base}\n{requirement}\n", encoding="utf-8")
        there = {name for name in NAME.findall(base.read_text("utf-8")) if name != part}
        without = [f"--no-emit-package={name}" for name in sorted({*there, "gatehouse-ml"})]
        compile_(source, PARTS / f"{part}.txt", links, *without, "--no-annotate", "--no-header")


def main() -> int:
    """Compile them all; returns the exit code."""
    with tempfile.TemporaryDirectory() as links:
        name, content = build_wheel.build()
        Path(links, name).write_bytes(content)
        for lock in ("train", "serve", "checks"):
            out = PROJECT / f"{lock}.txt"
            how = ("--custom-compile-command", "gatehouse lock")
            compile_(Path(f"{lock}.in"), out, links, *how)
            text = out.read_text("utf-8")
            own = re.compile(r"(gatehouse-ml==[\d.]+ \\\n    --hash=sha256:)[0-9a-f]{64}")
            out.write_text(own.sub(r"\g<1>" + 64 * "0", text), encoding="utf-8")
        for parts, base in ((ON_SERVE, "serve"), (ON_TRAIN, "train")):
            for part, requirement in parts.items():
                on_top(part, requirement, PROJECT / f"{base}.txt", links)
        ours = ("--no-emit-package=gatehouse-ml", "--custom-compile-command", "make lock")
        compile_(Path("dev.in"), ROOT / "requirements/dev.txt", links, *ours)
        compile_(Path("tables.in"), ROOT / "requirements/tables.txt", links, "--no-deps", *ours[1:])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
