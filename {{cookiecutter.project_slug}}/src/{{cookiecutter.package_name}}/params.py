"""``params.yaml``: how the model is made."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from .schema import read_yaml

PATH = Path("params.yaml")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DerivedTarget(_Section):
    """A yes/no target made from a number: true where ``source`` is above ``above``."""

    name: str
    source: str
    above: float


class Ingest(_Section):
    """Where the table is and how a CSV file is written."""

    source: Path
    encoding: str = "utf-8"
    delimiter: str | None = Field(None, min_length=1, max_length=1)
    decimal: Literal[".", ","] | None = Field(None, description="None: decided from the file")
    null_values: list[str] | None = Field(None, description="None: decided column by column")
    join_variants: bool = Field(False, description="Yes, yes and 'YES ' of a target are one class")
    derive_target: DerivedTarget | None = None


class Split(_Section):
    """How much is held out, and the seed of the hash that decides which rows."""

    test_fraction: float = Field(0.2, gt=0, lt=1)
    seed: int = Field(0, ge=0, lt=2**63)


class Features(_Section):
    """Preprocessing by column role."""

    impute_numeric: Literal["none", "mean", "median", "zero"] = "none"
    impute_categorical: Literal["most_frequent", "missing"] = "missing"
    scale: Literal["none", "standard"] = "none"
    encode: Literal["ordinal", "onehot"] = "ordinal"
    max_categories: int | None = Field(None, ge=2)


class Estimator(_Section):
    """A scikit-learn compatible class by its dotted path."""

    path: str = Field(alias="class")
    params: dict[str, Any] = {}


class Model(_Section):
    """The estimator of each kind of task."""

    classifier: Estimator
    regressor: Estimator


class Search(_Section):
    """Hyper-parameter search; off unless ``space`` names parameters."""

    method: Literal["random", "grid"] = "random"
    trials: int = Field(20, ge=1)
    folds: int = Field(3, ge=2)
    jobs: int = 1
    space: dict[str, list[Any]] = {}


class Params(_Section):
    """The whole file."""

    experiment: str
    seed: int = Field(0, ge=0, lt=2**32)
    ingest: Ingest
    split: Split = Split()
    features: Features = Features()
    model: Model
    search: Search = Search()


def load_params(path: Path = PATH) -> Params:
    """Read and check ``params.yaml``."""
    return read_yaml(path, Params)
