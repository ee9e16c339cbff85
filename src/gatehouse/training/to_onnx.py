"""The model as ONNX: the whole pipeline, preprocessing included, for a service without pandas.

``serving.onnx_model`` runs what ``convert`` makes.
"""

import copy
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from gatehouse.core.errors import InputError
from gatehouse.serving.arrays import OWN, Part, parts, ranks
from gatehouse.serving.onnx_model import LAYOUT, RARE
from gatehouse.serving.skops_model import Model

from .split_points import floor32, rounded_down


def convert(model: Model) -> bytes:
    """The pipeline as ONNX; any exception means that this one does not convert.

    Inputs: ``numbers`` float32 (n, k) and ``text`` string (n, m), one left out where there is no
    such feature. Whether it says the same as the model is for stage evaluate to find out.
    """
    from skl2onnx import to_onnx, update_registered_converter
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.preprocessing import FunctionTransformer

    steps = dict(model.pipeline.steps)
    made = {part.label: part for part in parts(model.columns)}
    own = model.derive.names if model.derive else ()
    made |= {name: Part(name, name, OWN) for name in own}
    branches, inputs, position = [], [], 0
    layout: dict[str, Any] = {"numbers": [], "text": [], "fill": {}, "rare": {}, "classes": None}
    layout |= {"columns": list(model.columns), "words": {}, "ranks": {}, "shift": []}
    layout["labels"] = {"numbers": [], "text": []}
    for name, transformer, labels in steps["features"].transformers_:
        labels = [str(label) for label in labels]
        if name.startswith("text"):
            raise InputError(
                "onnx-no-text", "ONNX has no form of `role: text` that is surely the same"
            )
        columns = [made[label] for label in labels]
        if not columns:
            continue
        if name == "numeric":
            layout["labels"]["numbers"] = labels
            layout["numbers"] = [(one.column, one.part) for one in columns]
            layout["shift"] = [model.shift.get(one.label, 0.0) for one in columns]
            ranked = [one.column for one in columns if one.part == "rank"]
            layout["ranks"] = {name: ranks(model.columns[name]) for name in ranked}
            transformer = _filled_down(transformer)
            inputs.append(("numbers", FloatTensorType([None, len(columns)])))
        elif name == "categorical":
            # An imputer of text does not convert: whoever encodes the rows fills them in.
            impute, transformer = transformer.named_steps.values()
            layout["labels"]["text"] = labels
            layout["text"] = [one.column for one in columns]
            layout["words"] = {one: model.columns[one].null_values for one in layout["text"]}
            layout["fill"] = dict(zip(layout["text"], map(str, impute.statistics_), strict=True))
            transformer, rare = _without_rare(transformer)
            layout["rare"] = {layout["text"][k]: about for k, about in rare.items()}
            inputs.append(("text", StringTensorType([None, len(columns)])))
        else:
            raise ValueError(f"no way is known to feed the branch {name!r}")
        positions = list(range(position, position + len(columns)))
        branches.append((name, transformer, positions))
        position += len(columns)
    features = copy.copy(steps["features"])
    features.transformers = features.transformers_ = branches
    pipeline = copy.copy(model.pipeline)
    pipeline.steps = [("features", features), ("model", rounded_down(steps["model"]))]
    options: Mapping[str, Any] | None = None
    if model.task != "regression":
        options = {"zipmap": False}
        known = [int(code) for code in model.pipeline.classes_]
        layout["classes"] = (known, len(model.classes))
    update_registered_converter(
        FunctionTransformer, "Bounded", _bounded_shape, _bounded, overwrite=True
    )
    made_onnx = to_onnx(pipeline, initial_types=inputs, options=options)
    # skl2onnx has them in a set, whose order changes from process to process.
    opsets = sorted(made_onnx.opset_import, key=lambda opset: str(opset.domain))
    del made_onnx.opset_import[:]
    made_onnx.opset_import.extend(opsets)
    entry = made_onnx.metadata_props.add()
    entry.key, entry.value = LAYOUT, json.dumps(layout)
    return bytes(made_onnx.SerializeToString(deterministic=True))


def _filled_down(transformer: Any) -> Any:
    """A copy that fills in numbers of float32 for missing ones, rounded as the thresholds are."""
    found = copy.deepcopy(transformer)
    for step in getattr(found, "named_steps", {}).values():
        if hasattr(step, "statistics_"):
            step.statistics_ = floor32(step.statistics_).astype(np.float64)
    return found


def _bounded_shape(operator: Any) -> None:
    operator.outputs[0].type = copy.deepcopy(operator.inputs[0].type)


def _bounded(scope: Any, operator: Any, container: Any) -> None:
    """``np.clip`` of the preprocessing, and what passes as it is."""
    from skl2onnx.common._apply_operation import apply_clip, apply_identity

    step = operator.raw_operator
    if step.func is None:
        apply_identity(
            scope, operator.inputs[0].full_name, operator.outputs[0].full_name, container
        )
        return
    if step.func is not np.clip:
        raise NotImplementedError("a FunctionTransformer has no converter")
    low, high = (np.float32(step.kw_args[key]) for key in ("a_min", "a_max"))
    names = operator.inputs[0].full_name, operator.outputs[0].full_name
    apply_clip(scope, *names, container, min=low, max=high)


def _without_rare(encoder: Any) -> tuple[Any, dict[int, tuple[list[str], bool]]]:
    """An encoder that knows ``RARE`` as a category, since grouping itself does not convert.

    Also position -> (categories, others): those of the list are rare, or with ``others`` all but
    those.
    """
    grouped = getattr(encoder, "infrequent_categories_", None) if encoder.max_categories else None
    if grouped is None:
        return encoder, {}
    made, rare = copy.copy(encoder), {}
    others = encoder.handle_unknown == "infrequent_if_exist"
    made.categories_ = list(encoder.categories_)
    for position, values in enumerate(grouped):
        if values is None:
            continue
        frequent = [c for c in encoder.categories_[position] if c not in set(values)]
        made.categories_[position] = np.array([*frequent, RARE], dtype=object)
        rare[position] = ([str(c) for c in (frequent if others else values)], others)
    made.max_categories, made._infrequent_enabled = None, False
    made._infrequent_indices = [None] * len(grouped)
    made.handle_unknown = "ignore" if others else encoder.handle_unknown
    return made, rare
