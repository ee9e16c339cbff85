"""One open issue for each thing that is wrong, and never a second one.

It is found by a mark at the very start of its text, which only the workflows' bot can have written.
"""

import json
import os
from typing import Any

from gatehouse.core.errors import INFRASTRUCTURE, Stop
from gatehouse.monitoring.history import run_link

from .api import call, reason
from .comment import AUTHOR, fence, pages

MARK = "<!-- gatehouse-{} {} -->"
LIMIT = 60_000  # characters; GitHub takes some more


def mark(kind: str, **said: str) -> str:
    """The first line of an issue of this kind, and what it keeps for the next run."""
    return MARK.format(kind, " ".join(f"{name}={value}" for name, value in said.items()))


def every() -> list[dict[str, Any]]:
    """All open issues that the bot wrote."""
    found = pages(f"{_where()}?state=open&per_page=100")
    return [one for one in found if one["user"]["login"] == AUTHOR and "pull_request" not in one]


def find(kind: str, among: list[dict[str, Any]] | None = None) -> dict[str, Any] | None:
    """The open issue of this kind, the oldest one."""
    start = MARK.partition("{} -->")[0].format(kind)
    issues = every() if among is None else among
    ours = [one for one in issues if (one["body"] or "").startswith(start)]
    return min(ours, key=lambda one: int(one["number"]), default=None)


def kept(issue: dict[str, Any], name: str) -> str:
    """What the mark of an issue keeps under ``name``; empty without it."""
    words = str(issue["body"]).partition("-->")[0].split()
    said = dict(word.partition("=")[::2] for word in words)
    return said.get(name, "")


def put(
    found: dict[str, Any] | None, title: str, body: str, labels: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Open the issue, or edit it in place. ``labels`` replace those that begin alike (``a: …``)."""
    said: dict[str, Any] = {"title": title, "body": body[:LIMIT]}
    families = {label.partition(":")[0] for label in labels}
    theirs = [_name(label) for label in (found or {}).get("labels") or []]
    names = [one for one in theirs if one.partition(":")[0] not in families] + list(labels)
    deed = ("PATCH", f"{_where()}/{found['number']}") if found else ("POST", _where())
    status, content = call(*deed, said | ({"labels": names} if labels else {}))
    if status >= 300 and labels:  # whoever may write issues may not always make labels
        status, content = call(*deed, said)
    return _taken(status, content) or found or {}


def tell(number: int, text: str) -> None:
    """Add a comment."""
    _taken(*call("POST", f"{_where()}/{number}/comments", {"body": text[:LIMIT]}))


def close(number: int, text: str) -> None:
    """Say why in a comment, then close it."""
    tell(number, text)
    said = {"state": "closed", "state_reason": "completed"}
    _taken(*call("PATCH", f"{_where()}/{number}", said))


def failed(kind: str, title: str, what_next: list[str]) -> str:
    """The one issue of jobs that failed, by NEEDS: opened, or commented on; its address."""
    needs: dict[str, Any] = json.loads(os.environ["NEEDS"])
    bad = [name for name, job in needs.items() if job["result"] in ("failure", "cancelled")]
    commit = os.environ.get("COMMIT") or os.environ.get("GITHUB_SHA", "")
    lines = [f"**{', '.join(bad)} failed** ([run]({run_link()}), commit {commit[:7]})", ""]
    for name in bad:
        why = (needs[name].get("outputs") or {}).get("why") or "no reason was left: see its log"
        lines += [f"{name} said at last:", "", fence(why.splitlines()), ""]
    text = "\n".join(lines + what_next)
    start = MARK.partition("{} -->")[0].format(kind)
    if ours := find(kind):
        tell(ours["number"], text)
        return f"commented on {ours.get('html_url', ours['number'])}"
    end = "Close this once it is understood; the next failure opens another."
    made = put(None, title, f"{start}-->\n{text}\n\n{end}")
    return f"opened {made.get('html_url', '')}"


def _where() -> str:
    return f"repos/{os.environ['GITHUB_REPOSITORY']}/issues"


def _name(label: Any) -> str:
    return str(label["name"]) if isinstance(label, dict) else str(label)


def _taken(status: int, content: Any) -> dict[str, Any]:
    """What GitHub has then; Stop (3) where it refuses."""
    if status >= 300:
        said = reason(content)
        raise Stop(
            "github-refuses",
            f"GitHub refuses the issue ({said}): the run itself says why",
            INFRASTRUCTURE,
        )
    return content if isinstance(content, dict) else {}
