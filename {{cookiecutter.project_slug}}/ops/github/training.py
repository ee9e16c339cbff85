"""What ct.yml does: ``python -m ops.github.training look|decide|outcome|failed``.

``look`` and ``failed`` do without an environment. A closed gate is an answer and no failure: it
ends in an issue, new data that are broken on a branch of their own, a better model in a pull
request or (``retrain.policy: promote``) on the main branch, where CI judges it once more.
"""

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..console import GOOD, INFRASTRUCTURE, Stop, read_json, say, stop_with
from ..git import git, run, somebody
from ..monitor import history
from ..storage import failed as git_failed
from . import issues
from .api import call, reason
from .comment import MARKER, fence, put
from .keys import output, summary

LOCK, REPORT, LOG = Path("dvc.lock"), Path("reports/report.md"), Path("reports/ci.log")
DATA_GATE, BLESSING = Path("reports/data_gate.json"), Path("blessing.json")
BY_EVENT = {
    "workflow_dispatch": ("demand",),
    "workflow_run": ("performance", "drift"),
    "push": ("data",),
    "repository_dispatch": ("data",),
    "schedule": ("data", "schedule"),
}
MONITORED = ("performance", "drift")
TAIL, SHORT = 30, 12
TITLES = {
    "quarantine": "New data are broken, and were not trained on",
    "not-blessed": "A new model was trained, and was not blessed",
}


def look() -> None:
    """Output ``maybe``: can this event be a reason to train? Nothing is installed for that."""
    event = os.environ["GITHUB_EVENT_NAME"]
    maybe = event in BY_EVENT
    if event == "push":
        lock = LOCK.read_text("utf-8") if LOCK.exists() else ""
        known = set(re.findall(r"\bmd5: (\w+)", lock))
        pointers = [Path(path) for path in (git("ls-files", "-z", "--", "*.dvc") or "").split("\0")]
        texts = [path.read_text("utf-8", "replace") for path in pointers if path.is_file()]
        said = {md5 for text in texts for md5 in _outs(text)}
        maybe = bool(lock and said - known)
    elif event == "workflow_run":
        passes = history.passes()
        maybe = bool(passes) and any(kind in passes[-1]["incidents"] for kind in MONITORED)
    output("maybe", "true" if maybe else "false")
    print(f"training: {'may be needed' if maybe else 'there is no reason to train'} ({event})")


def decide() -> None:
    """Decide, record it; where training starts, put the new data on a branch of its own."""
    from ..training_facts import decide as decision
    from ..training_facts import update

    event = os.environ["GITHUB_EVENT_NAME"]
    update()
    forced, why = os.environ.get("FORCE") == "true", os.environ.get("REASON", "")[:300]
    made = decision(BY_EVENT[event], " ".join(why.split()), force=forced, write=True)
    output("go", "true" if made and made.state == "started" else "false")
    if made is None or made.state == "known":
        why = made.why if made else "nothing asks for a training"
        summary(f"## Nothing to do\n\n{fence([why])}\n")
        return
    output("key", made.key)
    summary(f"## Training {made.state}: {made.trigger}\n\n{fence([made.why])}\n")
    if made.state == "refused":
        if made.trigger in MONITORED:
            _say_on_alert(made.trigger, made.why)
        return
    _git("checkout", "--quiet", "-B", _branch("retrain", made.key))
    _git("add", "--", *_changed())
    message = f"Retrain: {made.trigger}\n\n{made.why}\n"
    _git(*somebody("Gatehouse"), "commit", "--quiet", "--allow-empty", "-m", message)


def outcome() -> None:
    """What became of it: quarantine, not blessed, nothing changed, or a candidate on its way."""
    from ..training_facts import sources_known

    key, base = os.environ["KEY"], os.environ["BASE_REF"]
    if os.environ["RAN"] != "success":
        # A model that was judged, else data that were, else a source that could not be read.
        if BLESSING.exists():
            _issue("not-blessed", "The champion stays as it is.", key)
            _end(key, "not-blessed", _headline())
        elif (
            read_json(DATA_GATE)["open"] is False if DATA_GATE.exists() else not sources_known(base)
        ):
            _quarantine(key, base)
        else:
            raise Stop("the pipeline ended before its verdict: the log says why", INFRASTRUCTURE)
    elif _model(LOCK.read_text("utf-8")) == _model(git("show", f"{base}:./{LOCK}") or ""):
        summary("## Nothing changed: what trains the model is as before, and so is the model\n")
        _end(key, "nothing", "nothing changed")
    else:
        _hand_over(key)


def failed() -> None:
    """The one issue of trainings that failed; the decision is open again."""
    needs: dict[str, Any] = json.loads(os.environ["NEEDS"])
    if key := (needs.get("train", {}).get("outputs") or {}).get("key"):
        lines = [line for line in history.decisions() if line["key"] == key]
        if lines and lines[-1]["state"] == "started":
            _end(key, "failed", "see the run")
    what_next = [
        "No gate said so: something broke. The champion and main are as they were, and the same "
        "decision may be tried again:",
        "",
        "```sh",
        "gh workflow run ct.yml -f reason=…",
        "```",
    ]
    print(f"training: {issues.failed('training', 'Continuous training failed', what_next)}")


def _quarantine(key: str, base: str) -> None:
    from .. import storage

    names = (git("diff", "--name-only", base, "HEAD", "--", "*.dvc") or "").split()
    branch = _branch("quarantine", key)
    kinds = (".md", ".json", ".log")
    reports = [str(path) for path in Path("reports").glob("*") if path.suffix in kinds]
    _git("add", "--force", "--", *reports)
    message = "Quarantine: these data broke the gate"
    _git(*somebody("Gatehouse"), "commit", "--quiet", "--allow-empty", "-m", message)
    if names:
        storage.push_data(*names)
    _push(f"+HEAD:refs/heads/{branch}")
    told = f"The data and what was found are on branch `{branch}`; main is untouched."
    if not names:
        told = f"What was found is on branch `{branch}`; main has these data: revert them there."
    _issue("quarantine", told, key)
    _end(key, "quarantined", _headline())


def _hand_over(key: str) -> None:
    """Data and lock, pushed; then a pull request, or main itself."""
    from .. import storage
    from ..training import read_settings

    _git("add", "--", str(LOCK), *_changed())
    _git(*somebody("Gatehouse"), "commit", "--quiet", "--amend", "--no-edit", "--allow-empty")
    storage.push_data()
    main = os.environ["BASE_REF"].removeprefix("origin/")
    if read_settings().policy == "promote":
        done = run("push", "--quiet", "--no-verify", "origin", f"HEAD:refs/heads/{main}")
        if "[rejected]" in done.stderr:
            raise Stop(f"{main} has moved meanwhile: run the same again", INFRASTRUCTURE)
        if done.returncode:
            fix = "let GitHub Actions pass the ruleset of main, or set retrain.policy: pull-request"
            raise Stop(f"{main} takes no push of a workflow: {fix}", INFRASTRUCTURE)
        told = f"the candidate is on {main}; CI judges it there, and CD follows"
        summary(f"## Promoted: {told}\n\n{_report()}\n")
        ref = main
    else:
        ref = _branch("retrain", key)
        _push(f"+HEAD:refs/heads/{ref}")
        told = _pull_request(ref, main, key)
    _end(key, "blessed", told)
    _dispatch(ref)
    for kind in TITLES:
        if found := issues.find(f"training-{kind}"):
            issues.close(found["number"], f"A later training was blessed: {told}.")


def _pull_request(branch: str, main: str, key: str) -> str:
    """Open it or bring it up to date; its address, or the link by which a person opens it."""
    repository = os.environ["GITHUB_REPOSITORY"]
    where, owner = f"repos/{repository}/pulls", repository.partition("/")[0]
    subject = (git("log", "-1", "--format=%s") or "").strip()
    why = (git("log", "-1", "--format=%b") or "").splitlines()
    head = [
        f"Trained by [this run]({history.run_link()}), decision `{key[:SHORT]}`:",
        *("", fence(why), "", "CI was dispatched on this branch: `pass` is its answer.", ""),
    ]
    text = "\n".join(head) + _report()
    body = {"title": subject, "body": text[: issues.LIMIT]}
    _, found = call("GET", f"{where}?state=open&base={main}&head={owner}:{branch}")
    status, said = (
        call("PATCH", f"{where}/{found[0]['number']}", body)
        if found
        else call("POST", where, body | {"base": main, "head": branch})
    )
    if status >= 300:
        home = f"{os.environ['GITHUB_SERVER_URL']}/{repository}"
        link = f"{home}/compare/{main}...{branch}?expand=1"
        told = (
            f"GitHub refused the pull request ({reason(said)}): [open it yourself]({link}), or let "
            "workflows open them: Settings, Actions, General"
        )
        summary(f"## A better model waits for you\n\n{told}.\n")
        return told
    call("POST", f"repos/{repository}/issues/{said['number']}/labels", {"labels": ["retrain"]})
    summary(f"## Blessed: pull request {said['html_url']}\n")
    return str(said["html_url"])


def _dispatch(ref: str) -> None:
    """What a workflow pushes or opens starts none, but for this."""
    where = f"repos/{os.environ['GITHUB_REPOSITORY']}/actions/workflows/ci.yml/dispatches"
    status, said = call("POST", where, {"ref": ref})
    if status >= 300:
        why = reason(said) or status
        raise Stop(
            f"CI could not be started on {ref} ({why}): start it there by hand", INFRASTRUCTURE
        )


def _issue(kind: str, told: str, key: str) -> None:
    start = issues.mark(f"training-{kind}", key=key[:SHORT])
    head = f"{start}\n{told} ([run]({history.run_link()}), decision `{key[:SHORT]}`)\n\n"
    made = issues.put(issues.find(f"training-{kind}"), TITLES[kind], head + _report(), ("retrain",))
    summary(f"## {TITLES[kind]}: {made.get('html_url', '')}\n\n{told}\n")


def _say_on_alert(trigger: str, why: str) -> None:
    """On the issue of the incident: why nothing is trained, in one comment that is edited."""
    if found := issues.find(f"alert-{trigger}"):
        at = int(os.environ["GITHUB_RUN_ID"]), int(os.environ.get("GITHUB_RUN_ATTEMPT", "1"))
        text = f"Not trained again {MARKER.format(f'{at[0]}.{at[1]}')}\n\n{fence([why])}\n"
        put(int(found["number"]), text, at)


def _report() -> str:
    """What a reviewer reads; the end of the log where there is no report."""
    if REPORT.exists():
        return REPORT.read_text("utf-8")
    lines = LOG.read_text("utf-8", "replace").splitlines() if LOG.exists() else []
    return f"There is no report. The log ends:\n\n{fence(lines[-TAIL:])}\n"


def _headline() -> str:
    first = _report().partition("\n")[0].removeprefix("## ")
    return re.sub(r" *<!--.*?-->", "", first)


def _end(key: str, state: str, why: str) -> None:
    history.add_decision({"key": key, "state": state, "ended_as": why[:300]})
    say(f"training: {state}: {why}")


def _outs(pointer: str) -> list[str]:
    """MD5 of what a ``*.dvc`` file points at; not of where that came from, nor of the file."""
    listed = pointer.partition("outs:")[2].partition("\ndeps:")[0]
    return re.findall(r"(?m)^[- ] md5: (\w+)", listed)


def _model(lock: str) -> str:
    from ..champion import outs

    return outs(lock).get("model", "")


def _changed() -> list[str]:
    return [str(path) for path in (git("diff", "--name-only", "HEAD", "--", "*.dvc") or "").split()]


def _branch(kind: str, key: str) -> str:
    return f"{kind}-{key[:SHORT]}"


def _push(refs: str) -> None:
    done = run("push", "--quiet", "--no-verify", "origin", refs)
    if done.returncode:
        raise git_failed("pushed", done, refs.rpartition("/")[2])


def _git(*words: str) -> None:
    if words[0] == "add" and words[-1] == "--":
        return  # nothing is to be added, which to git would mean everything
    done = run(*words)
    if done.returncode:
        raise git_failed("written", done, "the training's branch")


def main() -> int:
    """Do one of them; 3 where GitHub, git or the data cannot be reached."""
    does: dict[str, Callable[[], None]] = {f.__name__: f for f in (look, decide, outcome, failed)}
    try:
        does[sys.argv[1]]()
    except Stop as stop:
        output("why", str(stop))
        stop_with(stop, "training")
    return GOOD


if __name__ == "__main__":
    raise SystemExit(main())
