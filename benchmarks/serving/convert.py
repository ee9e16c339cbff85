"""``python convert.py PROJECT``: ``model/model.onnx`` of a project whose template makes none.

Two inputs, ``numbers`` float32 (n, k) and ``text`` string (n, m), one left out where there is no
such column; outputs ``label`` and ``probabilities``; metadata ``layout`` names the columns.
"""

import json
import sys
from pathlib import Path
from typing import Any

import skops.io
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline


def convert(project: Path) -> None:
    """Convert the fitted pipeline, its imputers of text replaced by ``fill`` of the layout."""
    path = project / "model/model.skops"
    pipeline = skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
    fitted = {name: (step, list(columns)) for name, step, columns in pipeline[0].transformers_}
    numeric, numbers = fitted.get("numeric", (None, []))
    categorical, text = fitted.get("categorical", (None, []))
    branches: list[tuple[str, Any, list[int]]] = []
    inputs: list[tuple[str, Any]] = []
    fill: dict[str, str] = {}
    if numbers:
        inputs.append(("numbers", FloatTensorType([None, len(numbers)])))
        # The name of a column means nothing to ONNX.
        passed = "passthrough" if not hasattr(numeric, "steps") else numeric
        branches.append(("numeric", passed, list(range(len(numbers)))))
    if text:
        inputs.append(("text", StringTensorType([None, len(text)])))
        positions = list(range(len(numbers), len(numbers) + len(text)))
        branches.append(("categorical", categorical[-1], positions))
        fill = dict(zip(text, map(str, categorical[0].statistics_), strict=True))
    columns = ColumnTransformer(branches, sparse_threshold=0.0)
    columns.transformers_ = branches
    model = to_onnx(
        Pipeline([("features", columns), ("model", pipeline[-1])]),
        initial_types=inputs,
        options={"zipmap": False},
        target_opset=18,
    )
    layout = {"numbers": [str(n) for n in numbers], "text": [str(n) for n in text], "fill": fill}
    entry = model.metadata_props.add()
    entry.key, entry.value = "layout", json.dumps(layout)
    # skl2onnx's names of the outputs, and ours.
    for node in model.graph.node:
        for k, name in enumerate(node.output):
            if name == model.graph.output[0].name:
                node.output[k] = "label"
    model.graph.output[0].name = "label"
    (project / "model/model.onnx").write_bytes(model.SerializeToString())


if __name__ == "__main__":
    convert(Path(sys.argv[1]))
