"""The model as ONNX, fed straight from validated rows: no DataFrame, no scikit-learn."""

import json
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np
import onnxruntime
from project import PROJECT, utc

_PARTS = {
    "month": lambda moment: moment.month,
    "weekday": lambda moment: moment.weekday(),
    "hour": lambda moment: moment.hour,
}


class Model:
    """One ONNX session with one thread."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            PROJECT / "model/model.onnx", options, providers=["CPUExecutionProvider"]
        )
        metadata = self._session.get_modelmeta().custom_metadata_map
        layout = json.loads(metadata["layout"])
        numbers = [(str(column), str(part)) for column, part in layout["numbers"]]
        self._text: list[str] = layout["text"]
        self._fill: dict[str, str] = layout["fill"]
        self._plain = [column for column, part in numbers if part == "value"]
        self._parts = [(column, _PARTS[part]) for column, part in numbers if part != "value"]
        if any(part == "value" for _, part in numbers[len(self._plain) :]):
            raise SystemExit(f"features in an order that is not expected: {numbers}")
        if layout["rare"]:
            raise SystemExit("grouped categories are not in this comparison")

    def getters(self, rows_are_dicts: bool) -> "Feeder":
        """What takes the values out of rows."""
        return Feeder(self, itemgetter if rows_are_dicts else attrgetter)


class Feeder:
    """Rows of one kind, objects or dictionaries, to probabilities."""

    def __init__(self, model: Model, getter: Any) -> None:
        self._run = model._session.run
        self._plain = getter(*model._plain) if model._plain else None
        self._times = [(getter(time), part) for time, part in model._parts]
        self._text = [(getter(name), model._fill.get(name, "")) for name in model._text]

    def probabilities(self, rows: list[Any]) -> Any:
        """Probabilities float32 (n, k) of rows that were validated."""
        feed: dict[str, Any] = {}
        if self._times:
            values = [self._numbers(row) for row in rows]
        else:
            values = [self._plain(row) for row in rows] if self._plain else []
        if values:
            feed["numbers"] = np.array(values, np.float32)
        if self._text:
            text = [
                [fill if (value := get(row)) is None else value for get, fill in self._text]
                for row in rows
            ]
            feed["text"] = np.array(text, object)
        return self._run(["probabilities"], feed)[0]

    def _numbers(self, row: Any) -> tuple[Any, ...]:
        plain = self._plain(row) if self._plain else ()
        return (*plain, *(self._part(get(row), part) for get, part in self._times))

    @staticmethod
    def _part(moment: datetime | str | None, part: Any) -> Any:
        if isinstance(moment, str):
            moment = datetime.fromisoformat(moment)
        return None if moment is None else part(utc(moment))
