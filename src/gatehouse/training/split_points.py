"""Features to ask both forms of a model about: every split point of its trees, and the edges.

A split sends a number left if it is at most the threshold. ONNX has thresholds of float32, so what
can differ is the threshold itself and its neighbours, on a row that comes to that split.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

MOST, CELLS, WORK = 20_000, 5_000_000, 10_000_000  # split points; rows x columns; rows x trees
LEQ = b"BRANCH_LEQ"
UP, DOWN = np.float32(np.inf), np.float32(-np.inf)
LARGEST = np.finfo(np.float32).max
HUGE, TINY = 1e30, 1e-30  # larger ones do not fit float32 once they are weighed
NOBODY = "no such category ✓"
Array = npt.NDArray[Any]


def rounded_down(estimator: Any) -> Any:
    """A copy whose thresholds float32 holds, with the same answers for every number of float32.

    skl2onnx does it for most trees, but rounds those of histogram gradient boosting to the nearest.
    """
    found = copy.deepcopy(estimator)
    for nodes in _histogram_trees(found):
        nodes["num_threshold"] = floor32(nodes["num_threshold"])
    return found


def floor32(values: Array) -> npt.NDArray[np.float32]:
    """The largest number of float32 that is not above each value."""
    with np.errstate(over="ignore"):
        near = values.astype(np.float32)
    return np.where(near > values, np.nextafter(near, DOWN), near)


@dataclass(frozen=True)
class _Trees:
    """The branches of one node of the graph, arrays of equal length; ``parent`` is -1 for roots."""

    feature: Array
    threshold: npt.NDArray[np.float32]
    parent: Array
    went_left: Array  # from the parent
    count: int  # trees


def split_rows(pipeline: Any, onnx: Path, features: pd.DataFrame) -> tuple[pd.DataFrame, int, int]:
    """Rows at the split points, one float32 step below and above; points asked, points there are.

    ``features`` are rows to change. Each is first led to the split, as far as its own features and
    what comes before the trees let it be.
    """
    before = pipeline[0]
    usual = np.asarray(before.transform(features), dtype=np.float64)
    found = list(_graph_trees(onnx, usual.shape[1]))
    known = [_points(trees.feature, trees.threshold) for trees in found]
    there = np.unique(np.concatenate([*known, np.array([], dtype=np.int64)]))
    own = np.setdiff1d(_own_points(pipeline[-1], usual.shape[1]), there)
    if len(own):  # the graph has others: ask at both
        alone = np.full(len(own), -1)
        threshold = own.astype(np.int32).view(np.float32)
        found.append(_Trees(own >> 32, threshold, alone, alone > 0, 1))
        known.append(own)
    total = len(there) + len(own)
    work = WORK // max(1, sum(trees.count for trees in found))
    most = max(100, min(MOST, CELLS // usual.shape[1] // 3, work // 3))
    made, asked = [features.iloc[:0]], []
    for trees, points in zip(found, known, strict=True):
        _, first = np.unique(points, return_index=True)
        share = min(len(first), max(1, most * len(first) // max(total, 1)))
        chosen = first[np.linspace(0, len(first) - 1, share).astype(int)]
        asked.append(points[chosen])
        made.append(_rows(trees, chosen, before, usual, features))
    return pd.concat(made, ignore_index=True), len(np.unique(np.concatenate([[], *asked]))), total


def edge_rows(features: pd.DataFrame, pipeline: Any, rows: int = 3) -> pd.DataFrame:
    """A few rows with, in turn, each feature at its edges: of its values, of its scaler, of all."""
    means: dict[str, float] = {}
    for _, transformer, labels in pipeline[0].transformers_:
        scaler = dict(getattr(transformer, "steps", ())).get("scale")
        centre = getattr(scaler, "mean_", None)
        if centre is not None:
            means |= dict(zip(labels, centre, strict=True))
    usual, made = features.iloc[:rows], []
    for label in features:
        values = features[label]
        odd: list[Any]
        if values.dtype == object:
            odd = [*values.dropna().unique()[:100], NOBODY, np.nan]
        else:
            odd = [values.min(), values.max(), means.get(str(label), 0.0), np.nan, 0.0]
            odd += [HUGE, -HUGE, TINY, -TINY]
            odd = list(np.array(odd, dtype=np.float32).astype(np.float64))
        if (values.dtype == object or label in means) and not values.isna().any():
            odd = [one for one in odd if not pd.isna(one)]
        made += [usual.assign(**{str(label): one}) for one in odd]
        if len(made) * rows * features.shape[1] > CELLS:
            break
    return pd.concat(made, ignore_index=True).astype(features.dtypes.to_dict())


def _rows(
    trees: _Trees, chosen: Array, before: Any, usual: Array, base: pd.DataFrame
) -> pd.DataFrame:
    count = len(chosen)
    pick = np.arange(count) % len(usual)
    low = np.full((count, usual.shape[1]), DOWN)
    high = np.full((count, usual.shape[1]), UP)
    here, at = chosen, np.arange(count)
    while len(here):  # up to the root, all rows at once
        on = trees.parent[here] >= 0
        at, left, here = at[on], trees.went_left[here][on], trees.parent[here][on]
        feature, threshold = trees.feature[here], trees.threshold[here]
        cell = (at[left], feature[left])
        high[cell] = np.minimum(high[cell], threshold[left])
        cell = (at[~left], feature[~left])
        low[cell] = np.maximum(low[cell], threshold[~left])
    least = np.nextafter(low, UP)
    led = usual[pick].astype(np.float32)
    bound = np.where(high < UP, high, least)
    led = np.where(np.isnan(led) & ((low > DOWN) | (high < UP)), bound, led)
    led = np.where(led > high, high, np.where(led <= low, least, led))
    feature, at_split = trees.feature[chosen], trees.threshold[chosen]
    made = []
    for value in (at_split, np.nextafter(at_split, UP), np.nextafter(at_split, DOWN)):
        led[np.arange(count), feature] = np.clip(value, -LARGEST, LARGEST)
        made.append(_undone(led, before, base.iloc[pick].reset_index(drop=True)))
    gone = []
    for k, label in _numbers(before).items():
        rows = np.flatnonzero(feature == k)
        # Where a scaler stands before the trees, a step of what it makes is none of what it takes.
        value = made[0][label].to_numpy(dtype=np.float32)
        for frame, way in ((made[1], UP), (made[2], DOWN)):
            stepped = np.clip(np.nextafter(value[rows], way), -LARGEST, LARGEST)
            frame.loc[rows, label] = stepped.astype(np.float64)
        if base[label].isna().any():
            gone.append(made[0].iloc[rows].assign(**{label: np.nan}))
    return pd.concat([*made, *gone], ignore_index=True)


def _undone(led: Array, before: Any, frame: pd.DataFrame) -> pd.DataFrame:
    """The features that the columns before the trees are made from, where that can be undone."""
    for name, transformer, labels in before.transformers_:
        block = led[:, before.output_indices_[name]].astype(np.float64)
        if not len(labels) or not block.shape[1]:
            continue
        steps = [step for _, step in getattr(transformer, "steps", [("", transformer)])]
        if frame[labels[0]].dtype == object:
            # Codes are whole, and those of one-hot 0 or 1: more than half of the way is the next.
            block = np.ceil(block - 0.5)
        try:
            for step in reversed(steps):
                if hasattr(step, "inverse_transform") and not hasattr(step, "statistics_"):
                    block = step.inverse_transform(block)
        except (ValueError, IndexError, TypeError):
            continue  # it stays as the row has it
        if block.shape[1] != len(labels):
            continue
        for k, label in enumerate(labels):
            if frame[label].dtype == object:
                groups = getattr(steps[-1], "infrequent_categories_", None)
                rare = groups[k][0] if groups and groups[k] is not None else NOBODY
                said = {None: NOBODY, "infrequent_sklearn": rare}
                values = [said.get(value, value) for value in block[:, k].tolist()]
                frame[label] = pd.Series(values, dtype=object)
            else:
                with np.errstate(over="ignore"):
                    frame[label] = block[:, k].astype(np.float32).astype(np.float64)
    return frame


def _numbers(before: Any) -> dict[int, str]:
    """Column before the trees -> the numeric feature that it is made from, one from one."""
    found: dict[int, str] = {}
    for name, _, labels in before.transformers_:
        place = before.output_indices_[name]
        if name == "numeric" and place.stop - place.start == len(labels):
            found |= dict(zip(range(place.start, place.stop), map(str, labels), strict=True))
    return found


def _graph_trees(onnx: Path, width: int) -> Iterator[_Trees]:
    import onnx as library

    for node in library.load(onnx).graph.node:
        if not node.op_type.startswith("TreeEnsemble"):
            continue
        about = {one.name: library.helper.get_attribute_value(one) for one in node.attribute}
        if "nodes_values" not in about:
            raise ValueError(f"no way is known to read the trees of {node.op_type}")
        tree, number, feature, left, right = (
            np.array(about[f"nodes_{what}"], dtype=np.int64)
            for what in ("treeids", "nodeids", "featureids", "truenodeids", "falsenodeids")
        )
        branch = np.array([mode == LEQ for mode in about["nodes_modes"]])
        if not branch.any() or feature[branch].max() >= width:
            continue
        size = int(number.max()) + 1
        keys = tree * size + number
        order = np.argsort(keys)
        parent, went_left = np.full(len(keys), -1), np.zeros(len(keys), dtype=bool)
        inner = np.flatnonzero(branch)
        for child, is_left in ((left, True), (right, False)):
            place = order[np.searchsorted(keys[order], tree[inner] * size + child[inner])]
            parent[place], went_left[place] = inner, is_left
        # Only branches from here on, their parents by their new places.
        places = np.full(len(keys) + 1, -1)
        places[inner] = np.arange(len(inner))
        threshold = np.array(about["nodes_values"], dtype=np.float32)[inner]
        yield _Trees(
            feature[inner], threshold, places[parent[inner]], went_left[inner], len(set(tree))
        )


def _points(feature: Array, threshold: Array) -> npt.NDArray[np.int64]:
    """A number a split point: the feature, then the bits of the threshold."""
    bits = (np.asarray(threshold, dtype=np.float32) + np.float32(0)).view(np.int32)  # -0 is 0
    return (np.asarray(feature, dtype=np.int64) << 32) | (bits.astype(np.int64) & 0xFFFFFFFF)


def _own_points(estimator: Any, width: int) -> npt.NDArray[np.int64]:
    """The split points that the pipeline itself has, as float32 must have them."""
    found = [np.array([], dtype=np.int64)]
    for nodes in _histogram_trees(estimator):
        inner = nodes[(nodes["is_leaf"] == 0) & (nodes["is_categorical"] == 0)]
        found.append(_points(inner["feature_idx"], floor32(inner["num_threshold"])))
    for tree in _walk(estimator, "Tree"):
        inner = tree.feature >= 0
        if inner.any() and tree.feature.max() < width:
            found.append(_points(tree.feature[inner], floor32(tree.threshold[inner])))
    return np.unique(np.concatenate(found))


def _histogram_trees(estimator: Any) -> Iterator[Array]:
    for predictor in _walk(estimator, "TreePredictor"):
        yield predictor.nodes


def _walk(found: Any, kind: str, depth: int = 0) -> Iterator[Any]:
    """Everything of this class in an estimator and what it is made of."""
    if type(found).__name__ == kind:
        yield found
    elif depth < 8:
        inside: Any = ()
        if isinstance(found, list | tuple):
            inside = found
        elif isinstance(found, np.ndarray) and found.dtype == object:
            inside = found.ravel()
        elif isinstance(found, dict):
            inside = found.values()
        elif type(found).__module__.startswith("sklearn"):
            inside = [getattr(found, "tree_", None), *getattr(found, "__dict__", {}).values()]
            inside = list({id(one): one for one in inside if one is not None}.values())
        for one in inside:
            yield from _walk(one, kind, depth + 1)
