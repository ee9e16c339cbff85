"""From raw columns to what the model eats: the same code in training, evaluation and service."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.utils import get_tags

from .arrays import as_float32, nothing, parts, ranks
from .params import Features, Text
from .schema import Column

MISSING = "(missing)"
TREES = re.compile("Forest|Tree|Boost|Bagging|GBM|XGB")  # names of estimators that split by value
CATEGORIES, FAR = 25, 5.0  # columns for the categories of one; deviations at which a value is cut
LOST = 0.01  # the share of different values that float32 may take for another


def build_features(
    raw: pd.DataFrame, columns: Mapping[str, Column], shift: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Turn raw feature columns into numbers (float64) and text (object, NaN where missing).

    ``raw`` holds at least ``columns``; other columns are ignored. ``arrays.parts`` says which
    features a column gives. Every number is one that float32 holds, which is what ONNX is fed: the
    value less the ``shift`` of its feature, rounded. Numbers beyond float32 are missing.
    """
    made: dict[str, object] = {}
    for label, name, part in parts(columns):
        if part == "value" and columns[name].type == "string":
            made[label] = _text(raw[name], columns[name])
        else:
            exact = _exact(raw[name], columns[name], part)
            if offset := (shift or {}).get(label):
                exact = exact - offset
            made[label] = as_float32(exact).astype(np.float64)
    return pd.DataFrame(made, index=raw.index)


def shifts(raw: pd.DataFrame, columns: Mapping[str, Column]) -> dict[str, float]:
    """What to take off each feature whose values float32 cannot tell apart as they are: the median.

    Of seconds since 1970, for one, float32 knows every 128th. A feature is left out where more than
    half of its values that become the same would do so all the same.
    """
    found = {}
    for label, name, part in parts(columns):
        kind = columns[name].type
        if kind == "boolean" or part not in ("value", "days") or kind == "string":
            continue
        exact = _exact(raw[name], columns[name], part)
        exact = np.unique(exact[np.isfinite(exact)])
        if not len(exact):
            continue
        offset = float(np.median(exact))
        lost, left = (1 - len(np.unique(as_float32(exact - o))) / len(exact) for o in (0.0, offset))
        if lost > LOST and left <= lost / 2:
            found[label] = offset
    return found


def _exact(values: pd.Series, column: Column, part: str) -> npt.NDArray[np.float64]:
    """A feature of numbers before it is rounded, NaN where missing."""
    if part == "rank":
        known = ranks(column)
        return _by_word(values, [np.nan], lambda word: known.get(word, np.nan)).astype(np.float64)
    if part != "value":
        return _calendar(values, part)
    if column.type == "boolean":
        values = values.astype("boolean")
    found = pd.to_numeric(values).to_numpy(dtype="float64", na_value=np.nan)
    return np.asarray(found, dtype=np.float64)


def _text(values: pd.Series, column: Column) -> pd.Series:
    # Whoever splits a text into words wants one, be it empty.
    missing = "" if column.role == "text" else np.nan
    words = frozenset(column.null_values)
    text = _by_word(values, [missing], lambda word: missing if nothing(word, words) else word)
    # pandas would make its own string type of it, which scikit-learn knows less well.
    return pd.Series(text, values.index, dtype=object)


def _by_word(
    values: pd.Series, missing: list[Any], meaning: Callable[[str], Any]
) -> npt.NDArray[Any]:
    """``meaning`` of every value, asked once for each different one."""
    codes, known = pd.factorize(values.to_numpy(dtype=object))
    return np.array([*map(meaning, known), *missing], dtype=object)[codes]


def _calendar(values: pd.Series, part: str) -> npt.NDArray[np.float64]:
    # Microseconds, since nanoseconds end in 2262 and people write 9999-12-31.
    moments = pd.to_datetime(values).astype("datetime64[us]")
    if part == "days":
        days, rest = np.divmod(moments.to_numpy().astype("int64"), 86_400_000_000)
        return np.where(moments.isna(), np.nan, days + rest / 86_400_000_000)
    name = {"weekday": "day_of_week"}.get(part, part)
    return np.asarray(getattr(moments.dt, name).to_numpy(dtype="float64"))


def text_columns(columns: Mapping[str, Column]) -> list[str]:
    """Those that hold running text, not categories."""
    return [name for name, column in columns.items() if column.role == "text"]


def preprocessor(
    features: pd.DataFrame, options: Features, estimator: Any = None, words: Collection[str] = ()
) -> ColumnTransformer:
    """The unfitted preprocessing of ``features`` by role, as ``params.yaml`` says.

    What it leaves to ``auto`` is decided by the estimator (without one: as for trees). ``words``
    are the columns that hold running text.
    """
    options, sparse = _decided(options, estimator)
    words = [str(name) for name in features if name in set(words)]
    text = [str(name) for name in features if features[name].dtype == object and name not in words]
    numbers = [str(name) for name in features if features[name].dtype != object]
    if options.impute_numeric == "none":  # boosting refuses a column without any value
        numbers = [name for name in numbers if features[name].notna().any()]
    branches: list[tuple[str, Any, Any]] = []
    if numbers:
        branches.append(("numeric", _numeric(options), numbers))
    if text:
        branches.append(("categorical", _categorical(options, sparse), text))
    # One branch a column: words are counted within one text.
    branches += [
        (f"text {k}", _ngrams(options.text, sparse), name) for k, name in enumerate(words, start=1)
    ]
    return ColumnTransformer(branches, sparse_threshold=0.3 if sparse else 0.0)


def _decided(options: Features, estimator: Any) -> tuple[Features, bool]:
    """``options`` without ``auto``; may the features be sparse?

    Trees want codes as they are; who weighs numbers wants them filled in and scaled, and a column
    for each category.
    """
    nan, sparse, inner = True, False, estimator
    if estimator is not None:
        tags = get_tags(estimator).input_tags
        nan, sparse = tags.allow_nan, tags.sparse
    while getattr(inner, "estimator", None) is not None:
        inner = inner.estimator
    if inner is None or TREES.search(type(inner).__name__):
        auto: dict[str, Any] = {"scale": "none", "encode": "ordinal", "max_categories": None}
    else:
        auto = {"scale": "bounded", "encode": "onehot", "max_categories": CATEGORIES}
    auto |= {"impute_numeric": "none" if nan else "median", "impute_categorical": "missing"}
    said = {name: value for name, value in options if value != "auto"}
    return options.model_copy(update=auto | said), sparse


def _numeric(options: Features) -> Pipeline | str:
    steps: list[tuple[str, object]] = []
    if options.impute_numeric == "zero":
        zero = SimpleImputer(strategy="constant", fill_value=0.0, keep_empty_features=True)
        steps.append(("impute", zero))
    elif options.impute_numeric != "none":
        # A column that is all missing stays, so that the width does not depend on the data.
        imputer = SimpleImputer(strategy=options.impute_numeric, keep_empty_features=True)
        steps.append(("impute", imputer))
    if options.scale != "none":
        steps.append(("scale", StandardScaler()))
    if options.scale == "bounded":
        # One row far out would else decide what a linear model makes of all.
        far = {"a_min": -FAR, "a_max": FAR}
        steps.append(("bound", FunctionTransformer(np.clip, kw_args=far)))
    return Pipeline(steps) if steps else "passthrough"


def _categorical(options: Features, sparse: bool) -> Pipeline:
    if options.impute_categorical == "missing":
        how = {"strategy": "constant", "fill_value": MISSING}
    else:
        how = {"strategy": "most_frequent"}
    imputer = SimpleImputer(**how, keep_empty_features=True)
    if options.encode == "onehot":
        unknown = "infrequent_if_exist" if options.max_categories else "ignore"
        encoder = OneHotEncoder(
            handle_unknown=unknown, max_categories=options.max_categories, sparse_output=sparse
        )
    else:
        encoder = OrdinalEncoder(
            handle_unknown="use_encoded_value",
            unknown_value=-1,
            max_categories=options.max_categories,
        )
    return Pipeline([("impute", imputer), ("encode", encoder)])


def _ngrams(options: Text, sparse: bool) -> Pipeline:
    """Weighed counts of hashed n-grams: no word of the text stands in the model."""
    hashed = HashingVectorizer(
        analyzer="char_wb" if options.ngrams == "characters" else "word",
        token_pattern=r"(?u)\b\w+\b",
        ngram_range=options.lengths,
        n_features=options.size,
        norm=None,
        alternate_sign=False,
    )
    steps: list[tuple[str, object]] = [
        ("count", hashed),
        ("weigh", TfidfTransformer(sublinear_tf=True)),
    ]
    if not sparse:
        steps.append(("condense", TruncatedSVD(options.components, random_state=0)))
    return Pipeline(steps)
