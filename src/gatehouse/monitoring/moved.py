"""Has the input moved, or what is predicted? Bounds are those of monitor.yaml."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from gatehouse.core.config.monitor import Settings
from gatehouse.core.findings import Finding, graded
from gatehouse.core.project import Project

from . import domain, drift
from .performance import guesses

FIX = "Has the world changed, or the source? Train on newer rows if it is the world."


def look(
    project: Project,
    settings: Settings,
    folder: Path,
    before: pa.Table,
    now: pa.Table,
    mine: pa.Table,
    kinds: dict[str, str],
) -> tuple[list[Finding], list[dict[str, Any]], float | None]:
    """Findings, each column for the page, and the ROC AUC for those who estimate.

    ``before`` and ``now`` are compared by the columns of ``kinds``; ``mine`` are the records that
    the live model answered, held against its test rows in ``folder``.
    """
    wanted = settings.drift
    kinds = {name: kind for name, kind in kinds.items() if name in now.column_names}
    seen = drift.columns(before, now, kinds, level=wanted.level, effect=wanted.effect)
    moved = sorted((one for one in seen if one.drifted), key=lambda one: -(one.distance or 0))
    found = []
    for one in moved:
        said = f"distance {one.distance:.3f} from the reference (q {one.q:.2g})"
        found.append(graded(f"drift: {one.name}", True, said, FIX, one.distance, wanted.effect))
    share = len(moved) / max(len(seen), 1)
    over = bool(moved) and share >= wanted.columns
    said = f"{len(moved)} of {len(seen)} columns have moved"
    found.append(graded("moved columns", over, said, FIX, share, wanted.columns))
    whole = domain.domain(before, now, kinds, level=wanted.level, least=wanted.domain)
    if whole.auc is not None:
        said = f"a classifier tells live rows from the reference, ROC AUC {whole.auc:.3f}"
        names = [name for name, _ in whole.columns[:3]]
        said += f", by {', '.join(names)}" if whole.drifted and names else ""
        found.append(graded("domain drift", whole.drifted, said, FIX, whole.auc, wanted.domain))
    if mine.num_rows >= settings.window.rows_min:
        sides = guesses(project, folder, mine)
        seen_so = drift.predictions(*sides, level=wanted.level, effect=wanted.effect)
        worst = max(seen_so, key=lambda one: (one.drifted, one.distance or 0.0))
        if worst.distance is not None:
            said = f"{worst.name}: distance {worst.distance:.3f} from those on the test rows"
            bad, far = worst.drifted, worst.distance
            found.append(graded("predictions", bad, said, FIX, far, wanted.effect))
    return found, [_column(one) for one in seen], whole.auc


def _column(one: Any) -> dict[str, Any]:
    return {
        "name": one.name,
        "distance": None if one.distance is None else round(float(one.distance), 6),
        "q": None if one.q is None else float(f"{one.q:.3g}"),
        "drifted": bool(one.drifted),
    }
