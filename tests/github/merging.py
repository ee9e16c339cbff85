"""When GitHub lets a pull request be merged: its rules, as far as ours ask for them.

``blocked()`` gives a sentence for each rule that does not hold; no sentence, and it may be merged.
"""

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ACTIONS = 15368  # GitHub Actions, among GitHub's apps
# A run that somebody dispatched, or that followed another, leaves its check runs outside of any
# pull request, even on the same commit.
OF_A_PULL = ("pull_request", "push", "merge_group")
RULESET = Path(__file__).resolve().parents[2] / "src/gatehouse/files/.github/ruleset.json"


@dataclass(frozen=True)
class Said:
    """A commit status or a check run, by an app (0: a person); the later of two counts."""

    context: str
    state: str  # success, failure, error, pending, cancelled, skipped, neutral
    app: int = ACTIONS
    event: str = ""  # of the run that a check run belongs to; "" is a status


def ruleset() -> dict[str, Any]:
    """The rules of main, as the library ships them."""
    content: dict[str, Any] = json.loads(RULESET.read_text("utf-8"))
    return content


def owners(text: str, path: str) -> list[str]:
    """Who is named for a file by CODEOWNERS: the last line that matches, which may name nobody."""
    found: list[str] = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if words and _pattern(words[0]).fullmatch(path):
            found = words[1:]
    return [name.lower() for name in found]


def _pattern(said: str) -> re.Pattern[str]:
    anchored = "/" in said.rstrip("/")
    parts = {"**/": "(?:.*/)?", "/**": "/.*", "*": "[^/]*", "?": "[^/]"}
    body = re.sub(
        r"\*\*/|/\*\*|\*|\?|.", lambda m: parts.get(m[0], re.escape(m[0])), said.strip("/")
    )
    # A folder's name is everything below it; `docs/*` is what lies in it, and no deeper.
    below = "/.*" if said.endswith("/") else "" if said.endswith("/*") else "(?:/.*)?"
    return re.compile(f"{'' if anchored else '(?:.*/)?'}{body}{below}")


def blocked(
    rules: dict[str, Any],
    said: Iterable[Said],
    files: Collection[str],
    codeowners: str,
    *,
    author: str,
    approvals: Collection[str],
    behind: bool = False,
    admin: bool = False,
) -> list[str]:
    """What keeps it out of main; for an administrator nothing, where she may pass the rules."""
    if rules["enforcement"] != "active" or (admin and _passes(rules)):
        return []
    found = []
    kinds = {rule["type"]: rule.get("parameters") or {} for rule in rules["rules"]}
    agreed = {f"@{name}".lower() for name in approvals if name.lower() != author.lower()}
    review = kinds.get("pull_request", {})
    if len(agreed) < review.get("required_approving_review_count", 0):
        found.append("nobody else has approved it")
    # Without a single approval that must be there, the review of owners is not asked for at all.
    if review.get("require_code_owner_review") and review["required_approving_review_count"]:
        for path in sorted(files):
            if (named := owners(codeowners, path)) and not agreed.intersection(named):
                found.append(f"an owner of {path} has to approve")
    checks = kinds.get("required_status_checks", {})
    for check in checks.get("required_status_checks", []):
        if state := _missing(check, list(said)):
            found.append(f"{check['context']} is {state}")
    if behind and checks.get("strict_required_status_checks_policy"):
        found.append("it is not on the newest main")
    return found


def _passes(rules: dict[str, Any]) -> bool:
    return any(
        actor["actor_type"] == "RepositoryRole" and actor["actor_id"] == 5
        for actor in rules["bypass_actors"]
    )


def _missing(check: dict[str, Any], said: list[Said]) -> str:
    """What a required check is where it is not good: the latest status, the latest check run."""
    counted = [
        one
        for one in said
        if one.context == check["context"] and one.app == check.get("integration_id", one.app)
    ]
    statuses = [one.state for one in counted if not one.event][-1:]
    runs = [one.state for one in counted if one.event in OF_A_PULL][-1:]
    if not statuses + runs:
        return "expected"
    bad = [s for s in statuses if s != "success"]
    bad += [s for s in runs if s not in ("success", "skipped", "neutral")]
    return "".join(bad[:1])
