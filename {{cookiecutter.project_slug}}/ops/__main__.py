"""``python -m ops VERB``: what the machinery of this repository does.

Exit codes: 0 good, 1 gate closed, 2 usage or broken input, 3 infrastructure.
"""

import argparse
from pathlib import Path

from .console import Stop, stop_with


def parser() -> argparse.ArgumentParser:
    """All verbs with their help; nothing heavy is imported to print it."""
    root = argparse.ArgumentParser(
        prog="python -m ops",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = root.add_subparsers(dest="verb", metavar="VERB", required=True)
    verbs.add_parser("data", help="fetch the source, and refuse another than the one recorded")
    verbs.add_parser("push", help="push data, run cache and the branch that is checked out")
    verbs.add_parser("thresholds", help="where gates.yaml is looser than BASE_REF's, take that one")
    verbs.add_parser("results", help="take dvc.lock from before this change (CI)")
    doctor = verbs.add_parser("doctor", help="what is lacking here, with the command that mends it")
    doctor.add_argument("--json", action="store_true", help="print the list as JSON")
    explain = verbs.add_parser("explain", help="one prediction, step by step")
    explain.add_argument("row", metavar="ROW", help="position of a test row, or a JSON file of one")
    explain.add_argument("--json", action="store_true", help="print the steps as JSON")
    gate = verbs.add_parser("gate", help="print the verdict; exit 1 when a gate is closed")
    gate.add_argument("--json", action="store_true", help="print the verdict as JSON")
    report = verbs.add_parser("report", help="write reports/report.md and the two cards")
    report.add_argument("--html", action="store_true", help="write reports/report.html, too")
    schema = verbs.add_parser("schema", help="infer schema.yaml from the data")
    schema.add_argument("action", choices=["init"], help="describe every column of the dataset")
    schema.add_argument("--force", action="store_true", help="infer again; your edits are lost")
    checks = verbs.add_parser("checks", help="run Deepchecks in its own environment (a stage)")
    checks.add_argument("what", choices=["data", "model"], help="the dataset, or the candidate")
    checks.add_argument(
        "--html", action="store_true", help="only draw reports/WHAT-checks.html, with all charts"
    )
    package = verbs.add_parser("add", help="a package for training and serving, into the locks")
    package.add_argument("package", help="its name, or a requirement such as lightgbm>=4.6")
    verbs.add_parser("data-gate", help="stop the pipeline when the data is broken (a stage)")
    verbs.add_parser("test-model", help="run tests/model and note what they found (a stage)")
    champion = verbs.add_parser(
        "champion", help="fetch the model to be compared with, from git (a stage)"
    )
    champion.add_argument(
        "--bootstrap", metavar="REASON", help="write into gates.yaml why there is none yet"
    )
    verbs.add_parser("bless", help="judge the candidate, write blessing.json (a stage)")
    verbs.add_parser("catalogue", help="log the candidate to MLflow (a stage)")
    image = verbs.add_parser("image", help="build the serving image, and say if it may move on")
    image.add_argument("--json", action="store_true", help="print reports/image.json")
    verbs.add_parser("audit", help="known vulnerabilities of the packages in the image")
    places = ["staging", "production"]
    promote = verbs.add_parser("promote", help="write the blessed image into the record")
    promote.add_argument("--to", required=True, choices=places, help="who shall run it")
    promote.add_argument("--why", default="", metavar="TEXT", help="written into the record")
    promote.add_argument("--json", action="store_true", help="print the record as JSON")
    deploy = verbs.add_parser(
        "deploy", help="run what the record says; go back where it is not good"
    )
    deploy.add_argument("environment", choices=places)
    rollback = verbs.add_parser("rollback", help="go back to the release before")
    rollback.add_argument("environment", choices=places)
    rollback.add_argument("--why", default="", metavar="TEXT", help="written into the record")
    trial = verbs.add_parser("trial", help="the candidate of staging beside the champion")
    trial.add_argument("action", choices=["start", "status", "verdict", "stop", "config"])
    trial.add_argument("environment", nargs="?", choices=places, default="production")
    trial.add_argument("--mode", choices=["canary", "shadow", "ab"], default="canary")
    trial.add_argument("--share", type=float, default=5, help="%% of requests (keys in mode ab)")
    trial.add_argument("--replicas", type=int, default=1, help="containers of each side")
    trial.add_argument("--log", type=Path, action="append", default=[], help="judge this log")
    trial.add_argument("--outcomes", type=Path, help="table with id, and value or truth")
    trial.add_argument("--wait", type=float, default=0, help="seconds until there is a verdict")
    trial.add_argument("--json", action="store_true", help="print status or verdict as JSON")
    replay = verbs.add_parser("replay", help="the same requests to two versions, compared")
    replay.add_argument("--from", dest="old", default="production", metavar="ENV", help="the old")
    replay.add_argument("--to", dest="new", default="staging", metavar="ENV", help="or http://…")
    replay.add_argument("--rows", type=Path, metavar="FILE", help="JSON lines; else golden ones")
    replay.add_argument("--json", action="store_true", help="print it as JSON")
    batch = verbs.add_parser("batch", help="predictions of the blessed model for a whole table")
    batch.add_argument("--source", metavar="FILE_OR_URL", help="CSV, Parquet, or database#TABLE")
    batch.add_argument("--out", metavar="FILE_OR_URL", help="Parquet, or a database")
    batch.add_argument("--table", metavar="NAME", help="of the predictions in a database")
    batch.add_argument("--key", metavar="COLUMN", help="what names a row; else id_column")
    batch.add_argument("--force", action="store_true", help="score again what was scored before")
    batch.add_argument("--json", action="store_true", help="print what was done as JSON")
    review = verbs.add_parser("review", help="unsure predictions to a person, the answers back")
    review.add_argument("action", choices=["export", "import", "status"])
    review.add_argument("file", nargs="?", type=Path, help="the review file")
    review.add_argument("--days", type=float, help="of the inference log; else window.days")
    review.add_argument("--again", action="store_true", help="ask again what was not answered")
    review.add_argument("--issue", action="store_true", help="list them in an issue on GitHub")
    review.add_argument("--json", action="store_true", help="print what was done as JSON")
    status = verbs.add_parser("status", help="what shall run, what does; exit 1 where they differ")
    status.add_argument("--json", action="store_true", help="print it as JSON")
    status.add_argument("--html", action="store_true", help="write reports/status.html, too")
    history = verbs.add_parser("history", help="every change of the record, newest first")
    history.add_argument("environment", nargs="?", choices=places, help="only of this one")
    history.add_argument("--json", action="store_true", help="print the list as JSON")
    log = verbs.add_parser("log", help="what the inference log holds, as a summary or a table")
    log.add_argument("--since", metavar="TIME", help="ISO 8601, UTC; else --days before the end")
    log.add_argument("--until", metavar="TIME", help="ISO 8601, UTC; else now")
    log.add_argument("--days", type=float, metavar="N", help="so many days before the end; 7")
    log.add_argument("--labelled", action="store_true", help="only records whose truth is known")
    log.add_argument("--out", type=Path, metavar="FILE", help="write the records: .parquet or .csv")
    log.add_argument("--json", action="store_true", help="print the summary as JSON")
    monitor = verbs.add_parser("monitor", help="one look at the live model, by its inference log")
    monitor.add_argument("--json", action="store_true", help="print reports/monitor.json")
    monitor.add_argument("--checks", action="store_true", help="draw Deepchecks' page, too")
    training = verbs.add_parser("training", help="whether to train now, and what became of it")
    actions = training.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("update", help="bring imported sources up to date")
    decide = actions.add_parser("decide", help="say whether to train now, and why")
    asks = ["data", "performance", "drift", "schedule"]
    decide.add_argument(
        "--for", dest="triggers", nargs="+", choices=["demand", *asks], default=asks
    )
    decide.add_argument("--reason", default="", help="why a person asks, with --for demand")
    decide.add_argument("--force", action="store_true", help="past key and budget")
    decide.add_argument("--record", action="store_true", help="write it on branch monitoring")
    ended = actions.add_parser("record", help="write how a training ended")
    ended.add_argument("key", help="of the decision that started it")
    ended.add_argument(
        "state", choices=["blessed", "not-blessed", "quarantined", "nothing", "failed"]
    )
    ended.add_argument("--why", default="", metavar="TEXT", help="written beside it")
    for action in (decide, actions.add_parser("list", help="every decision, newest first")):
        action.add_argument("--json", action="store_true", help="print it as JSON")
    sign = verbs.add_parser("sign", help="sign the blessed model and the statement of its image")
    sign.add_argument("--key", type=Path, metavar="FILE", help="a private key; else keyless in CI")
    verbs.add_parser("verify", help="are model and image what somebody signed")
    key = verbs.add_parser("key", help="make a new pair of keys for signing")
    key.add_argument("name", metavar="NAME", help="of the public key in deploy/keys/")
    key.add_argument("--out", type=Path, metavar="FILE", help="where the private key goes")
    return root


def run(options: argparse.Namespace) -> int:
    """Import what the verb needs, and only that."""
    match options.verb:
        case "data":
            from .source import fetch_source

            return fetch_source()
        case "push":
            from .storage import push

            return push()
        case "thresholds":
            from .gates.thresholds import restore

            return restore()
        case "results":
            from .results import distrust

            return distrust()
        case "doctor":
            from .doctor import doctor

            return doctor(as_json=options.json)
        case "explain":
            from .explain import explain

            return explain(options.row, as_json=options.json)
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

            return run_checks(options.what, html=options.html)
        case "add":
            from .packages import add

            return add(options.package)
        case "data-gate":
            from .gates.data import judge

            return judge()
        case "test-model":
            from .model_tests import test_model

            return test_model()
        case "champion":
            from .champion import fetch
            from .gates.thresholds import bootstrap

            return fetch() if options.bootstrap is None else bootstrap(options.bootstrap)
        case "bless":
            from .gates.blessing import bless

            return bless()
        case "image":
            from .image import image

            return image(as_json=options.json)
        case "audit":
            from .image.audit import audit

            return audit()
        case "promote":
            from .release.promote import promote

            return promote(options.to, options.why, as_json=options.json)
        case "deploy":
            from .deploy.deploy import deploy

            return deploy(options.environment)
        case "rollback":
            from .deploy.deploy import rollback

            return rollback(options.environment, options.why)
        case "trial":
            from .deploy import trial

            return trial.run(options)
        case "replay":
            from .deploy.replay import replay

            return replay(options.old, options.new, options.rows, as_json=options.json)
        case "batch":
            from .batch import run as score

            where = options.source, options.out, options.table, options.key
            return score(*where, force=options.force, as_json=options.json)
        case "review":
            from .review import review

            return review(options)
        case "status":
            from .release.status import status

            return status(as_json=options.json, html=options.html)
        case "history":
            from .release.status import history

            return history(options.environment, as_json=options.json)
        case "log":
            from .monitor.log import log

            return log(
                since=options.since,
                until=options.until,
                days=options.days,
                labelled=options.labelled,
                out=options.out,
                as_json=options.json,
            )
        case "monitor":
            from .monitor import monitor

            return monitor(as_json=options.json, checks=options.checks)
        case "training":
            from .training_facts import verb

            return verb(options)
        case "sign":
            from .release.sign import sign

            return sign(options.key)
        case "verify":
            from .release.sign import verify

            return verify()
        case "key":
            from .release.keys import new_key

            return new_key(options.name, options.out)
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
