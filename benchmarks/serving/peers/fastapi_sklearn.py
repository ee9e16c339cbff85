"""FastAPI as it is mostly written: strict rows, a DataFrame, the scikit-learn pipeline."""

from typing import Annotated, Any

from fastapi import FastAPI
from pandas_model import load, probabilities
from project import MAX_ROWS, Prediction, answers, row_class
from pydantic import BaseModel, ConfigDict, Field

STRICT: dict[str, Any] = {"extra": "forbid", "strict": True, "allow_inf_nan": False}
Row: Any = row_class(**STRICT)


class Batch(BaseModel):
    """Many rows."""

    model_config = ConfigDict(**STRICT)
    rows: Annotated[list[Row], Field(min_length=1, max_length=MAX_ROWS)]


app = FastAPI()
pipeline = load()


@app.get("/readyz")
async def ready() -> str:
    """The model is loaded, or this would not answer."""
    return "ready"


@app.post("/predict")
def predict(row: Row) -> Prediction:
    """One row; the body is the row itself."""
    return answers(probabilities(pipeline, [row]))[0]


@app.post("/predict_batch")
def predict_batch(batch: Batch) -> list[Prediction]:
    """Up to 1,000 rows."""
    return answers(probabilities(pipeline, batch.rows))
