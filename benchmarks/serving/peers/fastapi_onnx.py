"""The best that a careful engineer writes by hand: FastAPI, strict rows, ONNX.

The return type is what makes current FastAPI fast: pydantic writes the JSON itself, and
``ORJSONResponse`` is deprecated for it.
"""

import gc

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from onnx_model import Model
from project import Prediction, StrictBatch, StrictRow, answers

app = FastAPI()
model = Model().getters(rows_are_dicts=False)


@app.exception_handler(RequestValidationError)
async def refuse(_: Request, error: RequestValidationError) -> JSONResponse:
    """Say what is wrong without the value: NaN is no JSON and would be answered with 500."""
    faults = [{key: fault[key] for key in ("loc", "msg", "type")} for fault in error.errors()]
    return JSONResponse({"detail": faults}, status_code=422)


@app.get("/readyz")
async def ready() -> str:
    """The model is loaded, or this would not answer."""
    return "ready"


# A prediction takes microseconds: a thread would cost more than it.
@app.post("/predict")
async def predict(row: StrictRow) -> Prediction:
    """One row; the body is the row itself."""
    return answers(model.probabilities([row]))[0]


@app.post("/predict_batch")
async def predict_batch(batch: StrictBatch) -> list[Prediction]:
    """Up to 1,000 rows."""
    return answers(model.probabilities(batch.rows))


gc.collect()
gc.freeze()
