"""The model as ONNX, run with NumPy and onnxruntime alone."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gatehouse.core.errors import InputError

from .arrays import OWN, Arrays, Encoder
from .derived import Derived

if TYPE_CHECKING:
    import pandas as pd

LAYOUT = "layout"  # the key in the file's metadata, so that the digest covers it
RARE = "infrequent_sklearn"  # as scikit-learn calls all categories that share one code


class OnnxModel:
    """An ONNX session with what is needed to feed it."""

    def __init__(self, path: Path, threads: int = 1, derive: Derived | None = None) -> None:
        """Open the file; raises ``InputError`` where it is missing or damaged.

        ``derive`` makes the columns that the user's own code made in training.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
            layout = json.loads(self._session.get_modelmeta().custom_metadata_map[LAYOUT])
            numbers = [(str(column), str(part)) for column, part in layout["numbers"]]
            self.encoder = Encoder(
                layout["columns"],
                numbers,
                layout["text"],
                layout["fill"],
                words=layout.get("words"),  # models from before there were such have none
                ranks=layout.get("ranks"),
                shift=layout.get("shift", ()),
                own=derive.of_lists if derive else None,
            )
            if not derive and any(part == OWN for _, part in numbers):
                raise InputError(
                    "derive-missing",
                    f"{path} wants columns of features.py: give the one it learned with",
                )
            self.labels = layout.get("labels")  # of the features, in the order of the arrays
            self._classes = layout["classes"]  # None for regression, else (known, all)
            self._rare = [
                (layout["text"].index(name), frozenset(values), bool(others))
                for name, (values, others) in layout["rare"].items()
            ]
        except FileNotFoundError:
            raise InputError("model-missing", f"{path} is not there: run `make pipeline`") from None
        except InputError:
            raise
        except Exception as error:  # onnxruntime has an exception of its own for each fault
            reason = type(error).__name__
            raise InputError(
                "model-damaged", f"{path} is damaged ({reason}): run `make pipeline`"
            ) from None
        self._output = [self._session.get_outputs()[-1].name]

    def run(self, arrays: Arrays) -> npt.NDArray[np.float32]:
        """Shape (n, k) probabilities in the order of the classes, or (n,) values for regression."""
        if self._rare:
            arrays = arrays | {"text": self._with_rare(arrays["text"])}
        found: npt.NDArray[np.float32] = self._session.run(self._output, arrays)[0]
        if self._classes is None:
            return found.reshape(-1)
        known, count = self._classes
        if len(known) == count:
            return found
        # A class that training never saw gets probability 0.
        probabilities = np.zeros((len(found), count), dtype=np.float32)
        probabilities[:, known] = found
        return probabilities

    def _with_rare(self, text: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Rare categories under their one name; ``others``: what is not in the list is rare."""
        text = text.copy()
        for position, values, others in self._rare:
            column = text[:, position].tolist()
            # Whoever says that name means a category that nobody knows: "" is none of them.
            column = ["" if v == RARE else v for v in column]
            text[:, position] = [RARE if (v in values) != others else v for v in column]
        return text


def plain(raw: "pd.DataFrame", columns: Iterable[str]) -> dict[str, list[Any]]:
    """Columns of a frame as a service has them: numbers, text, moments, None where missing."""
    import pandas as pd

    def cell(value: Any) -> Any:
        if pd.isna(value):
            return None
        return value.to_pydatetime() if isinstance(value, pd.Timestamp) else value

    return {name: [cell(value) for value in raw[name].tolist()] for name in columns}
