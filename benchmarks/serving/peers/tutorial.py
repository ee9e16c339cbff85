"""BentoML as its tutorial shows it: pydantic rows to a DataFrame to the scikit-learn pipeline."""

from typing import Any

import bentoml
from pandas_model import load, probabilities
from project import answers, row_class

Row: Any = row_class()


@bentoml.service
class Tutorial:
    """Predictions."""

    def __init__(self) -> None:
        self.pipeline = load()

    @bentoml.api
    def predict(self, rows: list[Row]) -> list[dict[str, Any]]:
        """Any number of rows."""
        return answers(probabilities(self.pipeline, rows))
