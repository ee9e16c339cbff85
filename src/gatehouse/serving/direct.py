"""Rows in, answers out, with the service's checks and no server: for the wheel and the consumer."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from . import inputs
from .predictor import Predictor


class Invalid(ValueError):
    """Rows that are not predicted: one sentence, and the fields it is about, never their values."""

    def __init__(self, message: str, fields: list[dict[str, str]] | None = None) -> None:
        super().__init__(message)
        self.fields = fields or []


class Direct:
    """The blessed model, to be asked from Python."""

    def __init__(self, predictor: Predictor, *, refuse: bool = False) -> None:
        """``refuse``: as in ``inputs.row_model``."""
        self.digest = predictor.digest
        self.row: Any = inputs.row_model(predictor.schema, refuse=refuse)
        self._predictor = predictor

    def predict(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The answer for one row, as the service gives it; raises ``Invalid``."""
        return self.answers([self._read(row, "the row")])[0]

    def predict_batch(self, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The answers for rows, in their order; raises ``Invalid`` if one of them is refused."""
        return self.answers([self._read(row, f"row {k}") for k, row in enumerate(rows)])

    def answers(self, rows: list[BaseModel]) -> list[dict[str, Any]]:
        """The answers for rows that were validated; raises ``Invalid`` where one is not finite."""
        if not rows:
            return []
        found = self._predictor.rows([tuple(row.__dict__.values()) for row in rows])
        if not np.isfinite(found.raw).all():
            raise Invalid("the model has no finite answer for these values")
        return self._predictor.answers(found.raw)

    def _read(self, row: Mapping[str, Any], where: str) -> BaseModel:
        try:
            read: BaseModel = self.row.model_validate(row if isinstance(row, dict) else dict(row))
        except ValidationError as error:
            message, fields = inputs.problems(error)
            raise Invalid(f"{where}: {message}", fields) from None  # the cause shows the values
        except (TypeError, ValueError):
            raise Invalid(f"{where}: must be a mapping of column names to values") from None
        return read
