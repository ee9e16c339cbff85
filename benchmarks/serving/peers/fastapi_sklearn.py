"""FastAPI as it is mostly written: strict rows, a DataFrame, the scikit-learn pipeline."""

from fastapi import FastAPI
from pandas_model import load, probabilities
from project import Prediction, StrictBatch, StrictRow, answers

app = FastAPI()
pipeline = load()


@app.get("/readyz")
async def ready() -> str:
    """The model is loaded, or this would not answer."""
    return "ready"


@app.post("/predict")
def predict(row: StrictRow) -> Prediction:
    """One row; the body is the row itself."""
    return answers(probabilities(pipeline, [row]))[0]


@app.post("/predict_batch")
def predict_batch(batch: StrictBatch) -> list[Prediction]:
    """Up to 1,000 rows."""
    return answers(probabilities(pipeline, batch.rows))
