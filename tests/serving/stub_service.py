"""The application over a model that says the same of every row: ``stub_service.py SCHEMA``."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

from gatehouse.core.config.results import Blessed
from gatehouse.core.config.schema import load_schema
from gatehouse.core.project import Project
from gatehouse.serving.app import App
from gatehouse.serving.arrays import Encoder
from gatehouse.serving.predictor import Found, Predictor
from gatehouse.serving.settings import read_settings


class Same(Predictor):
    """As likely one class as the other, or the value 1."""

    def rows(self, rows: Any) -> Found:
        width = (len(self.classes),) if self.classes else ()
        share = 1 / (len(self.classes) or 1)
        return Found(np.full((len(rows), *width), share, np.float32), [])


def main(path: str) -> None:
    """Serve on the port that SERVICE_PORT names."""
    schema = load_schema(Project(Path(path).parent))
    model = Same(Blessed("sha256:stub", "onnx"), schema, Encoder(list(schema.features), [], [], {}))
    settings = read_settings()
    app = App(model, settings, 0.0)
    uvicorn.run(app, host="127.0.0.1", port=settings.port, log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
