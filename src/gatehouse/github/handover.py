"""What becomes of a training: ``gatehouse github training hand-over``, where nothing else runs.

The job that trained may only read. What it says and what it leaves in ``handed/`` is the claim of
whatever packages ran there: names, kinds, sizes and digests are looked at first, and only then is
anything committed, pushed or told. Standard library alone; ``hand_over(project)`` is all of it.
"""

import json
import os
import re
import stat
import tempfile
from functools import partial
from pathlib import Path

from gatehouse.core.errors import GOOD, INFRASTRUCTURE, Stop
from gatehouse.core.project import Project
from gatehouse.monitoring import history
from gatehouse.monitoring.history import Line
from gatehouse.vcs import data_branch
from gatehouse.vcs.dvc import LOCK, md5_of
from gatehouse.vcs.git import git, must, push, run, somebody

from . import issues, pulls
from .api import call, reason
from .comment import MARKER, fence, put
from .keys import explained, summary
from .training import MONITORED, decision, end, entry, words

FOLDER = Path("handed")
OUTCOME, REPORT = FOLDER / "outcome.json", FOLDER / "report.md"
STATES = ("blessed", "not-blessed", "quarantined", "nothing")
SHORT, MOST, TRAINED = 12, 20_000, "the training's branch"
OBJECT = re.compile(r"storage/files/md5/([0-9a-f]{2})/([0-9a-f]{30})(?:\.dir)?")
KINDS = (  # what a file may be called, and its bytes at most
    (re.compile(r"outcome\.json"), 10_000),
    (re.compile(r"report\.md"), 10**6),
    (re.compile(r"reports/[\w.-]+\.(?:md|json|log)"), 10**7),
    (re.compile(r"tree/dvc\.lock"), 10**6),
    (re.compile(r"tree/(?:[\w.-]+/)*[\w.-]+\.dvc"), 10**5),
    (re.compile(r"storage/runs/[0-9a-f]{2}/[0-9a-f]{64}/[0-9a-f]{64}"), 10**5),
    (OBJECT, 10**11),
)
# What DVC writes down anew where it looks for new data; all else in a pointer is a person's.
RECORDED = re.compile(
    r"^[ -]*(?:md5|etag|checksum|size|nfiles|hash|rev_lock|mtime): .{1,200}\n", re.MULTILINE
)
TITLES = {
    "quarantine": "New data are broken, and were not trained on",
    "not-blessed": "A new model was trained, and was not blessed",
}


@explained()
def hand_over(project: Project) -> int:
    """Write the decision down, then: quarantine, say why not, or hand the candidate over."""
    line = decision(os.environ["DECISION"])
    if line["state"] == "refused":
        history.add_decision(project, entry(line))
        if line["trigger"] in MONITORED:
            _say_on_alert(line["trigger"], line["why"])
        return GOOD
    files, key = taken(project), line["key"]
    said = _outcome(project)
    if history.decide(project, partial(_unless_known, line)) is None:
        summary("## Nothing is handed over: another run has trained the same meanwhile\n")
    elif said["state"] == "nothing":
        end(project, key, "nothing", "nothing changed")
    elif said["state"] == "not-blessed":
        _issue(project, "not-blessed", "The champion stays as it is.", key)
        end(project, key, "not-blessed", said["headline"])
    elif said["state"] == "quarantined":
        _quarantine(project, said, files, key)
    else:
        _candidate(project, said, files, line)
    return GOOD


def taken(project: Project) -> dict[str, Path]:
    """Name -> file of all that was handed over; Stop for what no training leaves."""
    found: dict[str, Path] = {}
    for path in sorted((project / FOLDER).rglob("*")):
        about, name = path.lstat(), path.relative_to(project / FOLDER).as_posix()
        if stat.S_ISDIR(about.st_mode):
            continue
        most = next((size for pattern, size in KINDS if pattern.fullmatch(name)), -1)
        if not stat.S_ISREG(about.st_mode) or about.st_size > most or len(found) > MOST:
            raise _refused(name)
        if (one := OBJECT.fullmatch(name)) and md5_of(path) != one[1] + one[2]:
            raise _refused(f"{name}, which has another digest,")
        found[name] = path
    return found


def store(project: Project) -> int:
    """``gatehouse github training store``: into the bucket, where no other token is."""
    taken(project)
    data_branch.send(project, project / FOLDER / "storage")
    return GOOD


def _outcome(project: Project) -> dict[str, str]:
    try:
        said = json.loads((project / OUTCOME).read_text("utf-8"))
        state, base, headline = (str(said[name]) for name in ("state", "base", "headline"))
    except (OSError, ValueError, LookupError, TypeError):
        raise _refused("outcome.json") from None
    main = os.environ["BASE_REF"]
    known = re.fullmatch("[0-9a-f]{40}", base) and (
        git(project, "merge-base", "--is-ancestor", base, main) is not None
    )
    if state not in STATES or not known:
        raise _refused("outcome.json")
    return {"state": state, "base": base, "headline": words(headline)}


def _unless_known(line: Line, before: list[Line]) -> Line | None:
    """The decision, unless another run wrote the same down since it was made."""
    since = history.moment(line["when"])
    for one in before:
        alike = one["key"] == line["key"] and one["state"] not in ("refused", "failed")
        if alike and one.get("run") != history.run_link() and history.moment(one["when"]) >= since:
            return None
    return entry(line)


def _quarantine(project: Project, said: Line, files: dict[str, Path], key: str) -> None:
    tree = _tree(project, said["base"], files)
    tree.pop(str(LOCK), None)
    branch = f"quarantine-{key[:SHORT]}"
    told = f"The data and what was found are on branch `{branch}`; main is untouched."
    if not tree:
        told = f"What was found is on branch `{branch}`; main has these data: revert them there."
    tree |= {name: path for name, path in files.items() if name.startswith("reports/")}
    made = _commit(project, said["base"], tree, "Quarantine: these data broke the gate")
    _data(project)
    push(project, f"+{made}:refs/heads/{branch}", branch)
    _issue(project, "quarantine", told, key)
    end(project, key, "quarantined", said["headline"])


def _candidate(project: Project, said: Line, files: dict[str, Path], line: Line) -> None:
    """Data and lock, pushed; then a pull request, or main itself."""
    main, key = os.environ["BASE_REF"].removeprefix("origin/"), line["key"]
    message = f"Retrain: {line['trigger']}\n\n{line['why']}\n"
    made = _commit(project, said["base"], _tree(project, said["base"], files), message)
    _data(project)
    if _policy(project) == "promote":
        ref, told = main, f"the candidate is on {main}; CI judges it there, and CD follows"
        done = run(project, "push", "--quiet", "--no-verify", "origin", f"{made}:refs/heads/{main}")
        if "[rejected]" in done.stderr:
            raise Stop(
                "branch-moved", f"{main} has moved meanwhile: run the same again", INFRASTRUCTURE
            )
        if done.returncode:
            fix = "let GitHub Actions pass the ruleset of main, or set retrain.policy: pull-request"
            raise Stop("push-refused", f"{main} takes no push of a workflow: {fix}", INFRASTRUCTURE)
        summary(f"## Promoted: {told}\n\n{_report(project)}\n")
    else:
        ref = f"retrain-{key[:SHORT]}"
        push(project, f"+{made}:refs/heads/{ref}", ref)
        told = _pull_request(project, ref, main, line)
    end(project, key, "blessed", told)
    _dispatch(ref)
    for kind in TITLES:
        if found := issues.find(f"training-{kind}"):
            issues.close(found["number"], f"A later training was blessed: {told}.")


def _tree(project: Project, base: str, files: dict[str, Path]) -> dict[str, Path]:
    """Lock and pointers; of a pointer that is there, nothing but what DVC records may differ."""
    found = {}
    for path in (path for name, path in files.items() if name.startswith("tree/")):
        name = path.relative_to(project / FOLDER / "tree").as_posix()
        if name != str(LOCK):
            there = git(project, "show", f"{base}:{name}")
            here = path.read_text("utf-8", "replace")
            if there is None or RECORDED.sub("", there) != RECORDED.sub("", here):
                raise _refused(name)
        found[name] = path
    return found


def _data(project: Project) -> None:
    """Where git is the data remote; into a bucket another job has put them."""
    if data_branch.embedded(project):
        data_branch.take_in(project, project / FOLDER / "storage")


def _commit(project: Project, base: str, files: dict[str, Path], message: str) -> str:
    """A commit on ``base``, made without the work tree, which is the program that runs."""
    with tempfile.TemporaryDirectory() as folder:
        do = partial(must, project, "written", TRAINED, GIT_INDEX_FILE=f"{folder}/index")
        do("read-tree", base)
        for name, path in files.items():
            blob = do("hash-object", "-w", "--no-filters", "--", str(path)).strip()
            do("update-index", "--add", "--cacheinfo", f"100644,{blob},{name}")
        words = ("commit-tree", do("write-tree").strip(), "-p", base, "-m", message)
        return do(*somebody(project, "Gatehouse"), *words).strip()


def _policy(project: Project) -> str:
    """``retrain.policy`` of monitor.yaml, read without an environment."""
    text = (
        (project / "monitor.yaml").read_text("utf-8") if (project / "monitor.yaml").exists() else ""
    )
    found = re.search(r"^(?:retrain:.*[\x7b ,]| +)policy: *([\w-]+)", text, re.MULTILINE)
    return found[1] if found else "pull-request"


def _pull_request(project: Project, branch: str, main: str, line: Line) -> str:
    """Open it or bring it up to date; its address, or the link by which a person opens it."""
    head = [
        f"Trained by [this run]({history.run_link()}), decision `{line['key'][:SHORT]}`:",
        *("", fence([line["why"]]), ""),
        "CI was dispatched on this branch; the judge's answer is the status `pass`.",
        "",
    ]
    text = "\n".join(head) + _report(project)
    body = {"title": f"Retrain: {line['trigger']}", "body": text[: issues.LIMIT]}
    made, refused = pulls.put(branch, main, body)
    if refused:
        summary(f"## A better model waits for you\n\n{refused}.\n")
        return refused
    labels = f"repos/{os.environ['GITHUB_REPOSITORY']}/issues/{made['number']}/labels"
    call("POST", labels, {"labels": ["retrain"]})
    summary(f"## Blessed: pull request {made['html_url']}\n")
    return str(made["html_url"])


def _dispatch(ref: str) -> None:
    """What a workflow pushes or opens starts none, but for this."""
    where = f"repos/{os.environ['GITHUB_REPOSITORY']}/actions/workflows/ci.yml/dispatches"
    status, said = call("POST", where, {"ref": ref})
    if status >= 300:
        why = reason(said) or status
        raise Stop(
            "ci-not-started",
            f"CI could not be started on {ref} ({why}): start it there by hand",
            INFRASTRUCTURE,
        )


def _issue(project: Project, kind: str, told: str, key: str) -> None:
    start = issues.mark(f"training-{kind}", key=key[:SHORT])
    head = f"{start}\n{told} ([run]({history.run_link()}), decision `{key[:SHORT]}`)\n\n"
    made = issues.put(
        issues.find(f"training-{kind}"), TITLES[kind], head + _report(project), ("retrain",)
    )
    summary(f"## {TITLES[kind]}: {made.get('html_url', '')}\n\n{told}\n")


def _say_on_alert(trigger: str, why: str) -> None:
    """On the issue of the incident: why nothing is trained, in one comment that is edited."""
    if found := issues.find(f"alert-{trigger}"):
        at = int(os.environ["GITHUB_RUN_ID"]), int(os.environ.get("GITHUB_RUN_ATTEMPT", "1"))
        text = f"Not trained again {MARKER.format(f'{at[0]}.{at[1]}')}\n\n{fence([why])}\n"
        put(int(found["number"]), text, at)


def _report(project: Project) -> str:
    """What the training says of itself; it calls nobody."""
    text = (project / REPORT).read_text("utf-8", "replace") if (project / REPORT).exists() else ""
    return re.sub(r"@(?=\w)", "@\N{ZERO WIDTH SPACE}", text)


def _refused(name: str) -> Stop:
    fix = "nothing was pushed; see what the job `train` says"
    return Stop("handed-over", f"{name} is not what a training hands over: {fix}")
