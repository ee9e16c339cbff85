"""A log hook: what was predicted, one line of JSON a request, on standard output.

``SERVICE_LOG=gatehouse.serving.lines:write``. No values of columns are written.
"""

import json
import os
import sys

from .requests import Batch

MOST = 100  # rows of one request


def write(batch: Batch) -> None:
    """Positions of the likeliest classes, or values, of the first rows."""
    raw = batch.raw[:MOST]
    line = {
        "id": batch.request_id,
        "side": os.environ.get("SIDE", ""),
        "model": batch.model_digest,
        "prediction": (raw if raw.ndim == 1 else raw.argmax(axis=1)).tolist(),
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
