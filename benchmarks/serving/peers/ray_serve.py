"""Ray Serve: one replica on one core, JSON by Starlette, the same ONNX model, no validation."""

import os
import signal

import ray
from onnx_model import Model
from project import answers
from ray import serve
from starlette.requests import Request


@serve.deployment(
    num_replicas=1,
    max_ongoing_requests=128,
    ray_actor_options={"num_cpus": 1},
    logging_config={"enable_access_log": False},
)
class Predictor:
    """Rows to answers."""

    def __init__(self) -> None:
        self._model = Model().getters(rows_are_dicts=True)

    async def __call__(self, request: Request) -> object:
        """One row at /predict, {"rows": [...]} at /predict_batch."""
        if request.url.path == "/readyz":
            return "ready"
        body = await request.json()
        if request.url.path == "/predict":
            return answers(self._model.probabilities([body]))[0]
        return answers(self._model.probabilities(body["rows"]))


if __name__ == "__main__":
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    serve.start(
        http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])},
        logging_config={"enable_access_log": False},
    )
    serve.run(Predictor.bind(), name="predictor", route_prefix="/")
    signal.pause()
