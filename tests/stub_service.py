"""The application of the project in this folder over a model that says the same of every row.

Run by the serve environment of a project: ``stub_service.py PACKAGE SCHEMA``.
"""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path.cwd()))


def main(package: str, path: str) -> None:
    """Serve on the port that SERVICE_PORT names."""
    names = ("arrays", "blessed", "schema", "service.app", "service.predictor", "service.settings")
    project = {name: importlib.import_module(f"src.{package}.{name}") for name in names}
    predictor: Any = project["service.predictor"]

    class Same(predictor.Predictor):  # type: ignore[misc]
        def rows(self, rows: Any) -> Any:
            width = (len(self.classes),) if self.classes else ()
            share = 1 / (len(self.classes) or 1)
            return predictor.Found(np.full((len(rows), *width), share, np.float32), [])

    schema = project["schema"].load_schema(Path(path))
    encoder = project["arrays"].Encoder(list(schema.features), [], [], {})
    model = Same(project["blessed"].Blessed("sha256:stub", "onnx"), schema, encoder)
    settings = project["service.settings"].read_settings()
    uvicorn: Any = importlib.import_module("uvicorn")
    app = project["service.app"].App(model, settings, 0.0)
    uvicorn.run(app, host="127.0.0.1", port=settings.port, log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
