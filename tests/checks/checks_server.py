"""Runs ``python -m gatehouse.checks`` in forks of one process that has imported Deepchecks already.

Started by test_checks.py in the checks environment; for every line of JSON, [folder, words, file
for stdout, file for stderr], it answers with the exit code.
"""

import json
import os
import runpy
import sys
import traceback
from importlib import import_module


def run(folder: str, words: list[str], *files: str) -> int:
    """As a process of its own would; the exit code."""
    os.chdir(folder)
    for stream, name in enumerate(files, 1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), stream)
    sys.argv = ["gatehouse.checks", *words]
    try:
        runpy.run_module("gatehouse.checks", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else bool(end.code)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def main() -> None:
    """Import, then fork for every line until there is no more."""
    os.environ["DISABLE_DEEPCHECKS_ANONYMOUS_TELEMETRY"] = "true"
    for module in ("deepchecks.tabular.checks", "deepchecks.core.suite", "gatehouse.checks.deep"):
        import_module(module)
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            os._exit(run(*json.loads(line)))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
