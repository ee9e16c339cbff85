"""The stages of the pipeline by name: ``gatehouse stage NAME``, as dvc.yaml calls them."""

import importlib
import time

from gatehouse.core.console import say
from gatehouse.core.errors import Stop
from gatehouse.core.project import Project

# What each calls; it returns the line that is told, or the exit code of what tells for itself.
STAGES = {
    "ingest": ("training.ingest", "ingest"),
    "data_checks": ("gates.run_checks", "check_data"),
    "data_gate": ("gates.data_gate", "judge"),
    "split": ("training.split", "split"),
    "train": ("training.train", "train"),
    "champion": ("registry.champion", "fetch"),
    "evaluate": ("training.evaluate", "evaluate"),
    "model_checks": ("gates.run_checks", "check_model"),
    "model_tests": ("gates.model_tests", "test_model"),
    "blessing": ("gates.blessing", "bless"),
    "catalogue": ("registry.catalogue", "catalogue"),
}


def run(name: str) -> int:
    """Run one stage; its exit code. Raises ``Stop``."""
    if name not in STAGES:
        raise Stop("stage-unknown", f"there is no stage {name!r}: it is one of {', '.join(STAGES)}")
    module, function = STAGES[name]
    start = time.perf_counter()
    done = getattr(importlib.import_module(f"gatehouse.{module}"), function)(Project())
    if isinstance(done, str):
        say(f"{name}: {done} ({time.perf_counter() - start:.1f} s)")
        return 0
    return int(done)
