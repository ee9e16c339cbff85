"""The files that a gate reads, as its tests write them."""

import json
from pathlib import Path
from typing import Any

import yaml

from gatehouse.gates.own_stages import JUDGES

GOOD: dict[str, Any] = {
    "check": "x",
    "status": "pass",
    "message": "fine",
    "fix": "",
    "value": 0,
    "threshold": 1,
}


# A pipeline in which nobody put code of her own in place of a stage that judges.
PIPELINE = {"stages": {name: {"cmd": f"gatehouse stage {name}"} for name in JUDGES}}


# The files of core.config.results: what a library of today writes says its version.
RESULTS = (
    *("blessing.json", "metrics.json", "champion/champion.json", "reports/catalogue.json"),
    *(f"reports/{name}.json" for name in ("data", "data_gate", "model", "model_tests")),
    *(f"predictions/{name}.json" for name in ("golden", "parity", "round_trip")),
)
BLESSED: dict[str, Any] = {
    "blessed": True,
    "reasons": [],
    "rules": [],
    "serving": {"format": "onnx", "reason": "the same"},
}


def put(path: str, content: Any) -> None:
    """Write YAML or JSON, as the name says."""
    if path in RESULTS and isinstance(content, dict):
        content = {"version": 1} | content
    text = yaml.safe_dump(content) if path.endswith(".yaml") else json.dumps(content)
    Path(path).write_text(text, encoding="utf-8")
