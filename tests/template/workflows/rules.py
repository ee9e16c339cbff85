"""What act ignores and GitHub does not say: rules for a workflow or composite action, as text.

``broken(path)`` gives a sentence for each rule that a file breaks; no sentence, no fault.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from workflows.known_actions import KNOWN

KEYS = ["name", "run-name", "on", "permissions", "concurrency", "env", "defaults", "jobs"]
HEADER = ("When:", "Secrets:", "On a laptop:")
CODE = ("actions/checkout", "actions/download-artifact")
PUSH_TO_MAIN = {
    """contains(fromJSON('["push", "workflow_dispatch"]'), github.event.workflow_run.event)""",
    "github.event.workflow_run.conclusion == 'success'",
    "github.event.workflow_run.head_repository.full_name == github.repository",
    "github.event.workflow_run.head_branch == github.event.repository.default_branch",
}
# Workflows that no pull request starts, so that what follows them has nothing of a stranger's.
OURS = {"Monitor"}
APART = ("handed", "reports")
MOST_LINES, MOST_RUN_LINES = 99, 10
_PINNED = re.compile(
    r"([\w.-]+/[\w./-]+)@([0-9a-f]{40})['\"]?(?:,.*\})?,?\s+# v(\d+)\.(\d+)\.(\d+)$"
)
_WRITE = re.compile(r"([\w-]+): write\b")

Rule = Callable[[str, Any], Iterator[str]]


def broken(path: Path, most: int = MOST_LINES) -> list[str]:
    """The rules this file breaks, each in one sentence; ``most`` lines are read."""
    text = path.read_text(encoding="utf-8")
    # "on" is read as the boolean by YAML 1.1.
    document = {"on" if key is True else key: value for key, value in yaml.safe_load(text).items()}
    rules = WORKFLOW_RULES if "jobs" in document else ACTION_RULES
    found = [said for rule in rules for said in rule(text, document)]
    if len(text.splitlines()) > most:
        found.append(f"{len(text.splitlines())} lines; at most {most} are read")
    return [f"{path.name}: {said}" for said in found]


def steps(document: Any) -> list[dict[str, Any]]:
    """Every step of a workflow or a composite action."""
    if "jobs" in document:
        return [step for job in document["jobs"].values() for step in job.get("steps", [])]
    return list(document.get("runs", {}).get("steps", []))


def used(step: dict[str, Any]) -> str:
    """The action of a step without its version, empty where it has none."""
    return str(step.get("uses", "")).partition("@")[0]


def _triggers(document: Any) -> dict[str, Any]:
    on = document["on"]
    if isinstance(on, str):
        return {on: None}
    return dict.fromkeys(on) if isinstance(on, list) else on


def _grants(job: Any) -> dict[str, str]:
    granted = job.get("permissions", {})
    return granted if isinstance(granted, dict) else {"all": str(granted)}


def _is_pinned(text: str, document: Any) -> Iterator[str]:
    remote = [step["uses"] for step in steps(document) if "@" in step.get("uses", "")]
    remote += [job["uses"] for job in document.get("jobs", {}).values() if "uses" in job]
    lines = [line for line in text.splitlines() if re.search(r"\buses:", line)]
    for action in remote:
        name = action.partition("@")[0]
        said = next((m for line in lines if action in line and (m := _PINNED.search(line))), None)
        if said is None:
            yield f"{action} is not pinned by a commit with its version in a comment (# v1.2.3)"
        elif name not in KNOWN:
            yield f"{name} is not among the known actions"
        elif tuple(map(int, said.groups()[2:])) < KNOWN[name].since:
            yield f"{action} is older than node 24, which runners no longer have"


def _inputs_are_real(text: str, document: Any) -> Iterator[str]:
    for step in steps(document):
        known = KNOWN.get(used(step))
        if known:
            for name in step.get("with", {}).keys() - known.inputs:
                yield f"{used(step)} has no input {name}"


def _outputs_are_real(text: str, document: Any) -> Iterator[str]:
    groups = [document] if "jobs" not in document else list(document["jobs"].values())
    for group in groups:
        mine = group.get("steps") or group.get("runs", {}).get("steps", [])
        for step in mine:
            known = KNOWN.get(used(step))
            asked = (
                set(re.findall(rf"steps\.{step['id']}\.outputs\.([\w-]+)", str(group)))
                if "id" in step
                else set()
            )
            for name in sorted(asked - known.outputs) if known else ():
                yield f"{used(step)} has no output {name}"


def _nothing_is_granted(text: str, document: Any) -> Iterator[str]:
    if document.get("permissions") != {}:
        yield "permissions at the top are not {}"
    for name, job in document["jobs"].items():
        if "permissions" not in job:
            yield f"job {name} has no permissions of its own"
        if not isinstance(job.get("permissions", {}), dict):
            yield f"job {name} takes all permissions at once"
        if "timeout-minutes" not in job and "uses" not in job:
            yield f"job {name} has no timeout-minutes"


def _grants_have_reasons(text: str, document: Any) -> Iterator[str]:
    lines = [line for line in text.splitlines() if _WRITE.search(line)]
    for line in lines:
        if not re.search(r"\s# \S+", line):
            yield f"`{line.strip()}` does not say why"
    granted = [
        scope
        for job in document["jobs"].values()
        for scope, how in _grants(job).items()
        if how == "write"
    ]
    written = [scope for line in lines for scope in _WRITE.findall(line.partition(" # ")[0])]
    if sorted(granted) != sorted(written):
        yield "a grant is written in a way this rule cannot read: say `scope: write # why`"


def _scripts_are_plain(text: str, document: Any) -> Iterator[str]:
    for step in steps(document):
        script = str(step.get("run", ""))
        if "${{" in script:
            yield f"`{script.splitlines()[0]}` has an expression in its script: pass it by env"
        if len(script.strip().splitlines()) > MOST_RUN_LINES:
            yield f"`{script.splitlines()[0]}` is a script of over {MOST_RUN_LINES} lines"


def _no_token_stays(text: str, document: Any) -> Iterator[str]:
    for step in steps(document):
        keeps = step.get("with", {}).get("persist-credentials", True)
        if used(step) == "actions/checkout" and keeps is not False:
            yield "a checkout keeps the token: say persist-credentials: false"


def _is_in_order(text: str, document: Any) -> Iterator[str]:
    order = [key for key in KEYS if key in document]
    if list(document) != order:
        yield f"the keys are {', '.join(document)}; their order is {', '.join(order)}"


def _has_a_header(text: str, document: Any) -> Iterator[str]:
    head = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        head.append(line)
    for word in HEADER:
        if not any(word in line for line in head):
            yield f"the comment at the top does not say `{word}`"


def _triggers_are_safe(text: str, document: Any) -> Iterator[str]:
    triggers = _triggers(document)
    if "pull_request_target" in triggers:
        yield "pull_request_target gives a stranger's code a token that may write"
    for entry in triggers.get("schedule") or []:
        if entry["cron"].split()[0] in ("0", "00", "*"):
            yield f"cron {entry['cron']}: schedules on the hour are late or dropped"
    if "workflow_run" in triggers and not set(triggers["workflow_run"]["workflows"]) <= OURS:
        for name, job in document["jobs"].items():
            for step in job.get("steps", []):
                unsafe = ("actions/cache", "./") + (() if _ours(name, document) else CODE)
                given = step.get("with", {})
                # Without a ref it is the default branch that is checked out; what is downloaded
                # into a folder of its own is read, not run; the judge has a cache of its own.
                own = used(step) == CODE[0] and "ref" not in given
                own |= used(step) == "actions/download-artifact" and given.get("path") in APART
                own |= used(step) == "actions/cache/restore" and _of_judge(step)
                if used(step).startswith(unsafe) and not own:
                    said = "what a stranger left is not to be run"
                    yield f"{used(step)} in job {name} after workflow_run: {said}"


def _of_judge(step: Any) -> bool:
    given = step.get("with", {})
    return all(given.get(key, "judge-").startswith("judge-") for key in ("key", "restore-keys"))


def _ours(name: str, document: Any) -> bool:
    """Whether a job runs after workflow_run only for a good run of the repository's own main."""
    job = document["jobs"][name]
    said = str(job.get("if", ""))
    if any(word in said for word in ("||", "always()", "cancelled()")):
        return False
    terms = {term.strip() for term in said.split("&&")}
    needs = job.get("needs", [])
    needs = [needs] if isinstance(needs, str) else needs
    return (
        terms >= PUSH_TO_MAIN
        or "github.event_name == 'workflow_dispatch'" in terms
        or (bool(needs) and all(_ours(one, document) for one in needs))
    )


def _releases_restore_nothing(text: str, document: Any) -> Iterator[str]:
    # The token of OIDC in a run of a pull request is its author's to use anyway.
    harmless = {"id-token"} if "pull_request" in _triggers(document) else set()
    for name, job in document["jobs"].items():
        may_write = {scope for scope, how in _grants(job).items() if how in ("write", "write-all")}
        if may_write - harmless or "environment" in job:
            for step in job.get("steps", []):
                own = used(step).startswith(("actions/cache", "./.github/actions/setup"))
                if name == "judge" and _of_judge(step):
                    continue  # which it alone saves
                if own or "cache" in step.get("with", {}):
                    yield f"job {name} may write, and restores what others could write: {used(step)}"


def _pass_is_a_status(text: str, document: Any) -> Iterator[str]:
    if "pass" in document["jobs"] and "./gatehouse " in text:
        yield "job pass: what a run says of itself is not asked; the judge sets the status pass"
    for name, job in document["jobs"].items():
        for step in job.get("steps", []):
            judge = used(step).startswith("actions/cache") and "judge-" in str(step.get("with"))
            if judge and name != "judge":
                yield f"job {name} has the cache of the judge: {used(step)}"


def _ignored_with_a_reason(text: str, document: Any) -> Iterator[str]:
    for line in text.splitlines():
        if "zizmor: ignore" in line and not re.search(r"ignore\[[\w,-]+\]\s+\S+ \S+", line):
            yield f"`{line.strip()}` does not say why"


ACTION_RULES: list[Rule] = [
    _is_pinned,
    _inputs_are_real,
    _outputs_are_real,
    _scripts_are_plain,
    _no_token_stays,
    _ignored_with_a_reason,
]
WORKFLOW_RULES: list[Rule] = [
    *ACTION_RULES,
    _nothing_is_granted,
    _grants_have_reasons,
    _is_in_order,
    _has_a_header,
    _triggers_are_safe,
    _releases_restore_nothing,
    _pass_is_a_status,
]
