"""Seconds of `ci.yml` and `judge.yml` under act on the example, beside `make pipeline gate` of the same change.

    .venv/bin/python benchmarks/ci/run.py FOLDER [--rounds 3]

FOLDER keeps the project and its GitHub (a bare repository and a fake of the API) for another call.
Packages come from uv's cache, which the first round fills: its figure is left out of the medians.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.extend(
    str(Path(__file__).resolve().parents[2] / folder)
    for folder in ("src", "scripts", "tests", "tests/template", "tests/github")
)

from baked import BakedProject
from conftest import bake_into
from workflows import events
from workflows.github import FakeGitHub
from workflows.runner import run

AUTO = "\nmodel: auto\n"
BOOSTING = "sklearn.ensemble.HistGradientBoostingClassifier"
FILE = ".gitignore"  # of which no stage depends, and which is no prose


def main() -> int:
    """Print a line a round, then the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    folder: Path = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with FakeGitHub(folder / "hub") as hub:
        project = prepare(folder, hub)
        rows = []
        for number in range(options.rounds + 1):
            change(project, f"idle-{number}", FILE, f"\n# nothing {number}\n", None)
            idle = both(hub, pull(hub, project, f"idle-{number}"))
            rate = f"params: {{learning_rate: 0.1{number + 1}}}"
            tuned_model = f"\nmodel: {{class: {BOOSTING}, {rate}}}\n"
            change(project, f"rate-{number}", "params.yaml", AUTO, tuned_model)
            tuned = both(hub, pull(hub, project, f"rate-{number}"))
            before = time.perf_counter()
            project.make("pipeline", "gate", code=0)
            plain = time.perf_counter() - before
            row = [*idle.values(), *tuned.values(), plain]
            print(f"round {number}: " + ", ".join(f"{seconds:.1f} s" for seconds in row))
            rows.append(row)
    median = [statistics.median(column) for column in zip(*rows[1:], strict=True)]
    half = len(idle)
    print("job        nothing changed  a parameter changed")
    for place, job in enumerate(idle):
        print(f"{job:10} {median[place]:13.1f} s  {median[half + place]:17.1f} s")
    # `begin` runs beside CI.
    begin = list(idle).index("begin")
    idle_s = sum(median[:half]) - median[begin]
    tuned_s, plain_s = sum(median[half:-1]) - median[half + begin], median[-1]
    print(f"critical path: {idle_s:.1f} s, {tuned_s:.1f} s")
    print(
        f"`make pipeline gate` with the parameter: {plain_s:.1f} s, {tuned_s / plain_s:.2f} times"
    )
    billed = [
        sum(-(-seconds // 60) for seconds in part) for part in (median[:half], median[half:-1])
    ]
    print(f"billed minutes: {billed[0]:.0f}, {billed[1]:.0f}")
    return 0


def both(hub: FakeGitHub, event: events.Event) -> dict[str, float]:
    """Seconds of each job of CI and of the judge after it, as GitHub would run them."""
    made = run(hub, "ci.yml", event, timeout=3600)
    begun = run(hub, "judge.yml", events.workflow_run(hub, made.id, "requested"), timeout=3600)
    judged = run(hub, "judge.yml", events.workflow_run(hub, made.id), timeout=3600)
    for one in (made, begun, judged):
        assert one.conclusion == "success", one.text
    return {job: one.took(job) for one in (made, begun, judged) for job in one.results}


def prepare(folder: Path, hub: FakeGitHub) -> BakedProject:
    """The example, its first model made and all of it pushed."""
    project = BakedProject(folder / "flight-delays")
    if not project.path.exists():
        project = bake_into(folder)
        project.make("setup", "pipeline", "gate")
        project.git("remote", "add", "origin", str(hub.bare))
        project.git("add", "--all")
        project.git("commit", "--quiet", "--message", "First model")
        project.make("push")
    return project


def change(project: BakedProject, branch: str, name: str, old: str, new: str | None) -> None:
    """Commit a replaced, or (``new`` None) an added passage on a branch of main."""
    project.git("checkout", "--quiet", "--force", "-B", branch, "main")
    project.run(".venv/bin/dvc", "checkout", "--quiet", "--force")
    if new is None:
        project.write(name, project.read(name) + old)
    else:
        project.replace(name, old, new)
    project.git("commit", "--quiet", "--all", "--message", branch)


def pull(hub: FakeGitHub, project: BakedProject, branch: str) -> events.Event:
    """A pull request of what is checked out."""
    return events.pull_request(hub, hub.open_pull(project.path, branch))


if __name__ == "__main__":
    raise SystemExit(main())
