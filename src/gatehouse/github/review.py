"""The rows that wait for a person, as one issue: for people without the repository.

``export`` is ``gatehouse review export --issue``.
"""

from gatehouse.core.errors import INFRASTRUCTURE, Stop
from gatehouse.core.project import Project
from gatehouse.labelling.review import question, tell

from .api import call, reason
from .comment import fence

MARK = "<!-- gatehouse-review -->"
LABEL = "review"  # only who may sort issues can put it on one, so no stranger's issue is taken
ISSUES = "repos/{owner}/{repo}/issues"
SHOWN = 50  # rows


def export(project: Project, *, days: float | None = None, as_json: bool = False) -> int:
    """Ask in the issue, which shows all rows of the last ``days``, again and again."""
    asked = question(project, days=days, again=True, most=SHOWN)
    said: dict[str, object] = {"asked": asked.records.num_rows}
    if asked.records.num_rows:
        said["issue"] = put(asked.lines())
    asked.remember()
    return tell(said, as_json=as_json)


def put(lines: list[str]) -> str:
    """Open the issue, or edit it in place; its address. Raises ``Stop`` where GitHub refuses."""
    text = (
        f"{MARK}\nThe model is less sure of these {len(lines)} predictions than of others. What is "
        "right? Answer below, with id and answer; who has the repository brings that in by "
        f"`gatehouse review import FILE`.\n\n{fence(lines)}\n"
    )
    status, found = call("GET", f"{ISSUES}?state=open&labels={LABEL}&per_page=100")
    if status != 200:
        raise Stop(
            "github-refuses", f"GitHub lists no issues ({reason(found)}): see `gh auth status`"
        )
    ours = [one for one in found if str(one.get("body") or "").startswith(MARK)]
    body = {"title": f"Review: predictions that wait for an answer ({len(lines)})", "body": text}
    if ours:
        first = min(int(one["number"]) for one in ours)
        status, made = call("PATCH", f"{ISSUES}/{first}", body)
    else:
        status, made = call("POST", ISSUES, body | {"labels": [LABEL]})
    if status not in (200, 201):
        raise Stop(
            "github-refuses",
            f"GitHub refuses the issue ({reason(made)}): may you write it?",
            INFRASTRUCTURE,
        )
    return str(made["html_url"])
