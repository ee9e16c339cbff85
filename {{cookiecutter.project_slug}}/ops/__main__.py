"""``python -m ops VERB``: what the machinery of this repository does.

Exit codes: 0 good, 1 gate closed, 2 usage or broken input, 3 infrastructure.
"""

import argparse

from .console import Stop, stop_with


def parser() -> argparse.ArgumentParser:
    """All verbs with their help; nothing heavy is imported to print it."""
    root = argparse.ArgumentParser(
        prog="python -m ops",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = root.add_subparsers(dest="verb", metavar="VERB", required=True)
    gate = verbs.add_parser("gate", help="print the verdict; exit 1 when a gate is closed")
    gate.add_argument("--json", action="store_true", help="print the verdict as JSON")
    report = verbs.add_parser("report", help="write reports/report.md, what a reviewer needs")
    report.add_argument("--html", action="store_true", help="write reports/report.html, too")
    schema = verbs.add_parser("schema", help="infer schema.yaml from the data")
    schema.add_argument("action", choices=["init"], help="describe every column of the dataset")
    schema.add_argument("--force", action="store_true", help="infer again; your edits are lost")
    checks = verbs.add_parser("checks", help="run Deepchecks in its own environment (a stage)")
    checks.add_argument("what", choices=["data", "model"], help="the dataset, or the candidate")
    verbs.add_parser("data-gate", help="stop the pipeline when the data is broken (a stage)")
    verbs.add_parser("champion", help="fetch the model to be compared with, from git (a stage)")
    verbs.add_parser("bless", help="judge the candidate, write blessing.json (a stage)")
    verbs.add_parser("catalogue", help="log the candidate to MLflow (a stage)")
    return root


def run(options: argparse.Namespace) -> int:
    """Import what the verb needs, and only that."""
    match options.verb:
        case "gate":
            from .gates.verdict import show

            return show(as_json=options.json)
        case "report":
            from .report import write

            return write(html=options.html)
        case "schema":
            from .schema_init import init

            return init(force=options.force)
        case "checks":
            from .run_checks import run_checks

            return run_checks(options.what)
        case "data-gate":
            from .gates.data import judge

            return judge()
        case "champion":
            from .champion import fetch

            return fetch()
        case "bless":
            from .gates.blessing import bless

            return bless()
        case _:
            from .catalogue import catalogue

            return catalogue()


def main() -> int:
    """Parse, run, and turn a ``Stop`` into its sentence and exit code."""
    options = parser().parse_args()
    try:
        return run(options)
    except Stop as error:
        stop_with(error, options.verb)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
