"""The same model served by different servers, measured in turn, one core each.

    python benchmarks/serving/run.py FOLDER [--quick] [--only NAME ...] [--models NAME ...]

FOLDER keeps environments and generated projects for another call, and gets results.json,
results.md and results.svg. Correctness first: a server whose answers differ from the pipeline's
own model is not measured. A round measures every server once; figures are medians over rounds,
which for all models and servers take about an hour.
Linux, two cores, wrk, make, git and uv's or Python's packages are needed.
"""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

from common import TEMPLATE, Trouble, environment, require, say


def options(names: list[str], models: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--quick", action="store_true", help="one round of one second each")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=names, choices=names)
    parser.add_argument("--models", nargs="+", metavar="NAME", default=models, choices=models)
    parser.add_argument("--rounds", type=int, help="default 3")
    parser.add_argument("--seconds", type=float, help="of each measurement, default 3")
    parser.add_argument("--rates", action="store_true", help="only one row at fixed rates")
    parser.add_argument(
        "--soak", type=float, metavar="MINUTES", help="only this: does the memory of ours grow?"
    )
    given = parser.parse_args()
    given.rounds = given.rounds or (1 if given.quick else 3)
    given.seconds = given.seconds or (1 if given.quick else 3)
    given.folder = given.folder.resolve()
    return given


def main() -> int:
    """Measure, write, say where."""
    from measure import measure
    from projects import MODELS
    from servers import SERVERS
    from soak import soak

    given = options(list(SERVERS), list(MODELS))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers are ended on the way out
    try:
        require("taskset", "wrk", "make", "git")
        given.folder.mkdir(parents=True, exist_ok=True)
        return soak(given) if given.soak else measure(given)
    except Trouble as trouble:
        say(f"error: {trouble}")
        return 3


def with_environment() -> None:
    """Go on in the template's environment, which has cookiecutter and what reads the data."""
    python = TEMPLATE / ".venv/bin/python"
    if Path(sys.prefix) != TEMPLATE / ".venv":
        made = ["make", "--no-print-directory", ".venv/.ready"]
        if subprocess.run(made, cwd=TEMPLATE, env=environment(), check=False).returncode:
            sys.exit("error: `make .venv/.ready` failed")
        os.execve(python, [str(python), *sys.argv], environment())


if __name__ == "__main__":
    with_environment()
    raise SystemExit(main())
