"""The preprocessing of features, by column role and by what the estimator wants."""

import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.utils import get_tags

from gatehouse.core.config.params import Features, Text
from gatehouse.core.config.schema import Column

MISSING = "(missing)"
TREES = re.compile("Forest|Tree|Boost|Bagging|GBM|XGB")  # names of estimators that split by value
CATEGORIES, FAR = 25, 5.0  # columns for the categories of one; deviations at which a value is cut


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
    if options.impute_numeric != "none":
        how: dict[str, Any] = {"strategy": options.impute_numeric}
        if options.impute_numeric == "zero":
            how = {"strategy": "constant", "fill_value": 0.0}
        # A column that is all missing stays, so that the width does not depend on the data.
        steps.append(("impute", SimpleImputer(**how, keep_empty_features=True)))
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
