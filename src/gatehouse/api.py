"""What ``import gatehouse`` gives: a project, to be asked from a notebook or another program.

>>> import gatehouse
>>> project = gatehouse.Project.here()
>>> project.model.predict(frame)  # doctest: +SKIP
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gatehouse.core import project
from gatehouse.core.config.canvas import Canvas
from gatehouse.core.config.canvas import load as load_canvas
from gatehouse.core.config.monitor import Settings
from gatehouse.core.config.monitor import load as load_monitor
from gatehouse.core.config.params import Params, load_params
from gatehouse.core.config.results import Blessing, read_result
from gatehouse.core.config.schema import Schema, load_schema
from gatehouse.core.digests import MODEL
from gatehouse.core.layout import BLESSING


@dataclass(frozen=True)
class Project(project.Project):
    """The repository in ``root``; what it holds is read when it is asked for, and once.

    Every property raises ``gatehouse.core.errors.Stop``, one sentence, where a file is missing or
    damaged.
    """

    @cached_property
    def params(self) -> Params:
        """``params.yaml``: how the model is made."""
        return load_params(self)

    @cached_property
    def schema(self) -> Schema:
        """``schema.yaml``: what the data look like."""
        return load_schema(self)

    @cached_property
    def monitor(self) -> Settings:
        """``monitor.yaml``: how the live model is watched."""
        return load_monitor(self)

    @cached_property
    def canvas(self) -> Canvas:
        """``ml-canvas.yaml``: why the project exists."""
        return load_canvas(self)

    @cached_property
    def model(self) -> Any:
        """The candidate in ``model/``, a ``serving.skops_model.Model``.

        ``predict(frame)`` takes raw columns by the names of ``schema.yaml`` and gives probabilities
        (n, k) in the order of ``model.classes``, or values (n,) for a regression.
        """
        from gatehouse.core.hooks import on_path
        from gatehouse.serving.skops_model import load

        on_path(self)  # it may be of a class of the user's own
        return load(self / MODEL)

    @property
    def blessing(self) -> Blessing:
        """``blessing.json``: whether the candidate may move on, and why."""
        return read_result(self / BLESSING, Blessing)
