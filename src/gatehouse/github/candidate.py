"""A training as ct.yml runs it: ``gatehouse github training decide|outcome``.

A closed gate is an answer and no failure: it ends in an issue, new data that are broken on a branch
of their own, a better model in a pull request or (``retrain.policy: promote``) on the main branch,
where CI judges it once more. ``decide()`` and ``outcome()`` are all of it.
"""

import os
import re
from pathlib import Path

from gatehouse.core.errors import GOOD, INFRASTRUCTURE, Stop
from gatehouse.core.files import read_json
from gatehouse.core.project import Project
from gatehouse.monitoring import history
from gatehouse.retraining import facts, policy
from gatehouse.vcs import data_branch
from gatehouse.vcs.dvc import outs
from gatehouse.vcs.git import failed, git, run, somebody

from . import issues
from .api import call, reason
from .comment import MARKER, fence, put
from .keys import explained, output, summary
from .training import BY_EVENT, LOCK, MONITORED, end

REPORT, LOG = Path("reports/report.md"), Path("reports/ci.log")
DATA_GATE, BLESSING = Path("reports/data_gate.json"), Path("blessing.json")
TAIL, SHORT = 30, 12
TITLES = {
    "quarantine": "New data are broken, and were not trained on",
    "not-blessed": "A new model was trained, and was not blessed",
}


@explained()
def decide(project: Project) -> int:
    """Decide, record it; where training starts, put the new data on a branch of its own."""
    event = os.environ["GITHUB_EVENT_NAME"]
    facts.update(project)
    forced, why = os.environ.get("FORCE") == "true", os.environ.get("REASON", "")[:300]
    made = facts.decide(project, BY_EVENT[event], " ".join(why.split()), force=forced, write=True)
    output("go", "true" if made and made.state == "started" else "false")
    if made is None or made.state == "known":
        why = made.why if made else "nothing asks for a training"
        summary(f"## Nothing to do\n\n{fence([why])}\n")
        return GOOD
    output("key", made.key)
    summary(f"## Training {made.state}: {made.trigger}\n\n{fence([made.why])}\n")
    if made.state == "refused":
        if made.trigger in MONITORED:
            _say_on_alert(made.trigger, made.why)
        return GOOD
    _git(project, "checkout", "--quiet", "-B", _branch("retrain", made.key))
    _git(project, "add", "--", *_changed(project))
    message = f"Retrain: {made.trigger}\n\n{made.why}\n"
    _commit(project, message)
    return GOOD


@explained()
def outcome(project: Project) -> int:
    """What became of it: quarantine, not blessed, nothing changed, or a candidate on its way."""
    key, base = os.environ["KEY"], os.environ["BASE_REF"]
    if os.environ["RAN"] != "success":
        # A model that was judged, else data that were, else a source that could not be read.
        if (project / BLESSING).exists():
            _issue(project, "not-blessed", "The champion stays as it is.", key)
            end(project, key, "not-blessed", _headline(project))
        elif _data_broke(project, base):
            _quarantine(project, key, base)
        else:
            raise Stop(
                "pipeline-no-verdict",
                "the pipeline ended before its verdict: the log says why",
                INFRASTRUCTURE,
            )
    elif _model((project / LOCK).read_text("utf-8")) == _model(
        git(project, "show", f"{base}:./{LOCK}") or ""
    ):
        summary("## Nothing changed: what trains the model is as before, and so is the model\n")
        end(project, key, "nothing", "nothing changed")
    else:
        _hand_over(project, key)
    return GOOD


def _data_broke(project: Project, base: str) -> bool:
    """Whether the data gate closed; where it was not reached, whether the source is a new one."""
    if (project / DATA_GATE).exists():
        return read_json(project / DATA_GATE)["open"] is False
    return not facts.sources_known(project, base)


def _quarantine(project: Project, key: str, base: str) -> None:
    names = (git(project, "diff", "--name-only", base, "HEAD", "--", "*.dvc") or "").split()
    branch = _branch("quarantine", key)
    kinds = (".md", ".json", ".log")
    reports = [str(path) for path in (project / "reports").glob("*") if path.suffix in kinds]
    _git(project, "add", "--force", "--", *reports)
    message = "Quarantine: these data broke the gate"
    _commit(project, message)
    if names:
        data_branch.push_data(project, *names)
    _push(project, f"+HEAD:refs/heads/{branch}")
    told = f"The data and what was found are on branch `{branch}`; main is untouched."
    if not names:
        told = f"What was found is on branch `{branch}`; main has these data: revert them there."
    _issue(project, "quarantine", told, key)
    end(project, key, "quarantined", _headline(project))


def _hand_over(project: Project, key: str) -> None:
    """Data and lock, pushed; then a pull request, or main itself."""
    _git(project, "add", "--", str(LOCK), *_changed(project))
    _git(
        project,
        *somebody(project, "Gatehouse"),
        "commit",
        "--quiet",
        "--amend",
        "--no-edit",
        "--allow-empty",
    )
    data_branch.push_data(project)
    main = os.environ["BASE_REF"].removeprefix("origin/")
    if policy.read_settings(project).policy == "promote":
        done = run(project, "push", "--quiet", "--no-verify", "origin", f"HEAD:refs/heads/{main}")
        if "[rejected]" in done.stderr:
            raise Stop(
                "branch-moved", f"{main} has moved meanwhile: run the same again", INFRASTRUCTURE
            )
        if done.returncode:
            fix = "let GitHub Actions pass the ruleset of main, or set retrain.policy: pull-request"
            raise Stop("push-refused", f"{main} takes no push of a workflow: {fix}", INFRASTRUCTURE)
        told = f"the candidate is on {main}; CI judges it there, and CD follows"
        summary(f"## Promoted: {told}\n\n{_report(project)}\n")
        ref = main
    else:
        ref = _branch("retrain", key)
        _push(project, f"+HEAD:refs/heads/{ref}")
        told = _pull_request(project, ref, main, key)
    end(project, key, "blessed", told)
    _dispatch(ref)
    for kind in TITLES:
        if found := issues.find(f"training-{kind}"):
            issues.close(found["number"], f"A later training was blessed: {told}.")


def _pull_request(project: Project, branch: str, main: str, key: str) -> str:
    """Open it or bring it up to date; its address, or the link by which a person opens it."""
    repository = os.environ["GITHUB_REPOSITORY"]
    where, owner = f"repos/{repository}/pulls", repository.partition("/")[0]
    subject = (git(project, "log", "-1", "--format=%s") or "").strip()
    why = (git(project, "log", "-1", "--format=%b") or "").splitlines()
    head = [
        f"Trained by [this run]({history.run_link()}), decision `{key[:SHORT]}`:",
        *("", fence(why), "", "CI was dispatched on this branch: `pass` is its answer.", ""),
    ]
    text = "\n".join(head) + _report(project)
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
    """What a reviewer reads; the end of the log where there is no report."""
    if (project / REPORT).exists():
        return (project / REPORT).read_text("utf-8")
    lines = (
        (project / LOG).read_text("utf-8", "replace").splitlines()
        if (project / LOG).exists()
        else []
    )
    return f"There is no report. The log ends:\n\n{fence(lines[-TAIL:])}\n"


def _headline(project: Project) -> str:
    first = _report(project).partition("\n")[0].removeprefix("## ")
    return re.sub(r" *<!--.*?-->", "", first)


def _model(lock: str) -> str:
    return outs(lock).get("model", "")


def _changed(project: Project) -> list[str]:
    return [
        str(path)
        for path in (git(project, "diff", "--name-only", "HEAD", "--", "*.dvc") or "").split()
    ]


def _branch(kind: str, key: str) -> str:
    return f"{kind}-{key[:SHORT]}"


def _push(project: Project, refs: str) -> None:
    done = run(project, "push", "--quiet", "--no-verify", "origin", refs)
    if done.returncode:
        raise failed("pushed", done, refs.rpartition("/")[2])


def _commit(project: Project, message: str) -> None:
    who = somebody(project, "Gatehouse")
    _git(project, *who, "commit", "--quiet", "--allow-empty", "-m", message)


def _git(project: Project, *words: str) -> None:
    if words[0] == "add" and words[-1] == "--":
        return  # nothing is to be added, which to git would mean everything
    done = run(project, *words)
    if done.returncode:
        raise failed("written", done, "the training's branch")
