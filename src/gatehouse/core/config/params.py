"""``params.yaml``: how the model is made."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from gatehouse.core.project import Project

from .reader import File, Section, read

PATH = Path("params.yaml")


class DerivedTarget(Section):
    """A yes/no target made from a number: true where ``source`` is above ``above``."""

    name: str
    source: str
    above: float


class Ingest(Section):
    """Where the table is and how a CSV file is written."""

    source: Path
    encoding: str = "utf-8"
    delimiter: str | None = Field(None, min_length=1, max_length=1)
    decimal: Literal[".", ","] | None = Field(None, description="None: decided from the file")
    null_values: list[str] | None = Field(None, description="None: decided column by column")
    join_variants: bool = Field(False, description="Yes, yes and 'YES ' of a target are one class")
    derive_target: DerivedTarget | None = None


class Split(Section):
    """How much is held out, and the seed of the hash that decides which rows."""

    test_fraction: float = Field(0.2, gt=0, lt=1)
    seed: int = Field(0, ge=0, lt=2**63)


class Text(Section):
    """Columns of ``role: text``: hashed n-grams, weighed by how rare they are (tf-idf)."""

    ngrams: Literal["words", "characters"] = "words"
    lengths: tuple[int, int] = (1, 2)
    size: int = Field(2**14, ge=2, le=2**22, description="numbers that n-grams are hashed to")
    components: int = Field(50, ge=1, description="of them, for models that take no sparse input")

    @field_validator("lengths")
    @classmethod
    def _ordered(cls, lengths: tuple[int, int]) -> tuple[int, int]:
        if not 1 <= lengths[0] <= lengths[1]:
            raise ValueError("must be the least and the greatest length, such as [1, 2]")
        return lengths


class Features(Section):
    """Preprocessing by column role; ``auto`` is decided by the estimator."""

    impute_numeric: Literal["auto", "none", "mean", "median", "zero"] = "auto"
    impute_categorical: Literal["auto", "most_frequent", "missing"] = "auto"
    scale: Literal["auto", "none", "standard", "bounded"] = "auto"
    encode: Literal["auto", "ordinal", "onehot"] = "auto"
    max_categories: Literal["auto"] | Annotated[int, Field(ge=2)] | None = "auto"
    text: Text = Text()


class Estimator(Section):
    """A scikit-learn compatible class by its dotted path."""

    path: str = Field(alias="class")
    params: dict[str, Any] = Field(default_factory=dict)


class Search(Section):
    """Hyper-parameter search; off unless ``space`` names parameters."""

    method: Literal["random", "grid"] = "random"
    trials: int = Field(20, ge=1)
    folds: int = Field(3, ge=2)
    jobs: int = 1
    space: dict[str, list[Any]] = Field(default_factory=dict)


class Params(File):
    """The whole file."""

    experiment: str
    seed: int = Field(0, ge=0, lt=2**32)
    ingest: Ingest
    split: Split = Split()
    features: Features = Features()
    model: Literal["auto", "linear", "boosting"] | Estimator = "auto"
    search: Search = Search()

    @field_validator("model", mode="before")
    @classmethod
    def _known(cls, said: Any) -> Any:
        """One sentence, where pydantic would have one for each of the four forms."""
        if said in ("auto", "linear", "boosting") or (isinstance(said, dict) and "class" in said):
            return said
        raise ValueError("must be auto, linear, boosting, or {class: dotted.path, params: {...}}")

    @model_validator(mode="after")
    def _tunable(self) -> Self:
        if self.model == "auto" and self.search.space:
            raise ValueError(
                "search.space tunes one model, and model: auto chooses among several: name the "
                "model (linear, boosting or a class), or empty search.space"
            )
        return self


def load_params(project: Project) -> Params:
    """Read and check ``params.yaml``; the source lies in the project, or is an absolute path."""
    found = read(project / PATH, Params)
    source = {"source": project / found.ingest.source}
    return found.model_copy(update={"ingest": found.ingest.model_copy(update=source)})
