"""FastAPI for nothing but the routes: pydantic reads the bytes and writes them.

Faster than a declared body and return type, and what is lost is what FastAPI is for: its OpenAPI
page knows neither. It validates a row exactly as ``fastapi_onnx`` does, the answer not at all.
"""

from fastapi import FastAPI, Request, Response
from fastapi_onnx import model
from project import StrictBatch, StrictRow, answers
from pydantic import ValidationError
from pydantic_core import to_json

app = FastAPI()


@app.exception_handler(ValidationError)
async def refuse(_: Request, error: ValidationError) -> Response:
    """What is wrong, without the value."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    return Response(to_json({"detail": faults}), 422, media_type="application/json")


@app.get("/readyz")
async def ready() -> str:
    """The model is loaded, or this would not answer."""
    return "ready"


@app.post("/predict")
async def predict(request: Request) -> Response:
    """One row; the body is the row itself."""
    row = StrictRow.model_validate_json(await request.body())
    answer = answers(model.probabilities([row]))[0]
    return Response(to_json(answer), media_type="application/json")


@app.post("/predict_batch")
async def predict_batch(request: Request) -> Response:
    """Up to 1,000 rows."""
    batch = StrictBatch.model_validate_json(await request.body())
    return Response(
        to_json(answers(model.probabilities(batch.rows))), media_type="application/json"
    )
