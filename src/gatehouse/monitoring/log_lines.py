"""Lines of the inference log as a table of records, one a prediction; no line is trusted."""

import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as pj

from gatehouse.core.config.rules import is_number, value_text
from gatehouse.core.inference_log import LONGEST, Form, form_of, form_of_text
from gatehouse.data.contract import TYPES

_HEAD = {
    "id": pa.string(),
    "time": pa.timestamp("us"),
    "model": pa.string(),
    "schema": pa.string(),
    "seconds": pa.float64(),
}
_CLASSES = {bool: pa.bool_(), int: pa.int64()}
_PYTHON: dict[str, Any] = {"integer": int, "boolean": bool, "string": str}


class Lines:
    """Reads lines by ``schema.yaml``, and counts what is damaged."""

    def __init__(self, schema: Mapping[str, Any], version: str) -> None:
        """``version``: what the lines call this schema.yaml; a value that only an older one allows
        is taken for missing.
        """
        used = {
            name: column
            for name, column in schema["columns"].items()
            if column.get("role", "feature") in ("feature", "time")
        }
        # What is hashed for the log is text, whatever it was.
        self.kinds = {
            name: "string" if column.get("log") == "hash" else column["type"]
            for name, column in used.items()
        }
        classes = [] if schema["task"] == "regression" else list(schema.get("classes") or [])
        self.labels = [value_text(label) for label in classes]
        self.counts: Counter[str] = Counter()
        self._version = version
        self._said = _CLASSES.get(type(classes[0]), pa.string()) if classes else pa.float64()
        self._schemas: dict[Form, pa.Schema] = {
            form: self._schema(form) for form in ("one", "rows", "columns")
        }

    def tables(self, lines: list[bytes]) -> list[pa.Table]:
        """The records of these lines, as few tables as can be."""
        forms: dict[Form, list[bytes]] = {"one": [], "rows": [], "columns": []}
        for line in lines:
            if line[:1] == b"{" and line[-1:] == b"}":
                forms[_form(line)].append(line)
            else:
                self.counts["damaged"] += 1
        found = []
        for form, some in forms.items():
            if some:
                try:
                    found.append(self._table(some, form))
                except pa.ArrowException:
                    found += self._mended(some)
        return found

    def none(self) -> pa.Table:
        """A table without a record."""
        return self._one(self._schemas["one"].empty_table())

    def _mended(self, lines: list[bytes]) -> list[pa.Table]:
        """Line by line in Python: slow, but it says which line it is that Arrow does not take."""
        forms: dict[Form, list[bytes]] = {}
        for line in lines:
            try:
                form, mended = self._mend(line)
                forms.setdefault(form, []).append(mended)
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                self.counts["damaged"] += 1
        return [table for form, some in forms.items() for table in self._halves(some, form)]

    def _halves(self, lines: list[bytes], form: Form) -> list[pa.Table]:
        try:
            return [self._table(lines, form)]
        except pa.ArrowException:
            if len(lines) == 1:
                self.counts["damaged"] += 1
                return []
            middle = len(lines) // 2
            return self._halves(lines[:middle], form) + self._halves(lines[middle:], form)

    def _mend(self, line: bytes) -> tuple[Form, bytes]:
        said = json.loads(line, parse_constant=_refuse)
        fit = partial(_fit, strict=said["schema"] == self._version)
        request, answer = said["request"], said["answer"]
        kinds, form = self.kinds.items(), form_of(answer)
        if form == "columns":
            given = request["columns"]
            found = {
                name: None if given.get(name) is None else [fit(one, kind) for one in given[name]]
                for name, kind in kinds
            }
            request = {"columns": found}
        else:
            rows = request["rows"] if form == "rows" else [request]
            rows = [{name: fit(row.get(name), kind) for name, kind in kinds} for row in rows]
            request = {"rows": rows} if form == "rows" else rows[0]
        head = {name: said[name] for name in _HEAD} | {"time": _moment(said["time"])}
        head |= {"ids": said["ids"]} if form == "columns" and said.get("ids") else {}
        return form, json.dumps(head | {"request": request, "answer": answer}).encode()

    def _table(self, lines: list[bytes], form: Form) -> pa.Table:
        """Raises ``pa.ArrowException`` where one of the lines is not of this form."""
        parsing = pj.ParseOptions(
            explicit_schema=self._schemas[form], unexpected_field_behavior="ignore"
        )
        # A line must not be longer than a block.
        reading = pj.ReadOptions(block_size=max(2**20, 2 + max(map(len, lines))))
        text = pa.py_buffer(b"\n".join([*lines, b""]))
        found = pj.read_json(pa.BufferReader(text), reading, parsing)
        if found.num_rows != len(lines):
            raise pa.ArrowInvalid("a line that is two")
        found.validate(full=True)  # that text is UTF-8, above all
        found = found.combine_chunks()
        records = {"one": self._one, "rows": self._rows, "columns": self._columns}[form](found)
        return self._believed(records)

    def _one(self, found: pa.Table) -> pa.Table:
        request, answer = (found[name].combine_chunks() for name in ("request", "answer"))
        if request.null_count or answer.null_count:
            raise pa.ArrowInvalid("a line without request or answer")
        head = [found[name] for name in _HEAD]
        return self._assembled(head, answer.flatten(), request.flatten())

    def _rows(self, found: pa.Table) -> pa.Table:
        request = found["request"].combine_chunks().flatten()[0]
        found, (request, answer) = self._equal(found, request, found["answer"].combine_chunks())
        head = _spread(found, answer)
        return self._assembled(head, answer.flatten().flatten(), request.flatten().flatten())

    def _columns(self, found: pa.Table) -> pa.Table:
        answer = found["answer"].combine_chunks().flatten()
        lists = [answer[0], *(answer[1].flatten() if self.labels else [])]
        count = len(lists)
        given = found["request"].combine_chunks().flatten()[0].flatten()
        ids = found["ids"].combine_chunks()  # of a batch whose rows have names of their own
        found, lists = self._equal(found, *lists, *given, ids, may_miss=count)
        said, flat = lists[0], [_flat(one, lists[0]) for one in lists]
        parts = [flat[0]]
        if self.labels:
            parts.append(pa.StructArray.from_arrays(flat[1:count], names=self.labels))
        head = _spread(found, said)
        head[0] = pc.coalesce(flat[-1], head[0])
        return self._assembled(head, parts, flat[count:-1])

    def _equal(
        self, found: pa.Table, *lists: pa.Array, may_miss: int | None = None
    ) -> tuple[pa.Table, list[pa.Array]]:
        """Without lines whose lists differ in length; from ``may_miss`` on one may be absent."""
        lengths = [pc.list_value_length(one).fill_null(-1).to_numpy() for one in lists]
        same = lengths[0] >= 0
        for k, other in enumerate(lengths):
            absent = (other < 0) & (may_miss is not None and k >= may_miss)
            same &= (other == lengths[0]) | absent
        if same.all():
            return found, list(lists)
        self.counts["damaged"] += int((~same).sum())
        mask = pa.array(same)
        return found.filter(mask), [one.filter(mask) for one in lists]

    def _assembled(self, head: list[Any], said: list[Any], features: list[Any]) -> pa.Table:
        text = said[0].cast(pa.string()) if self.labels else said[0]
        names = [f"__{name}" for name in _HEAD] + ["__prediction"]
        names += [f"__p_{k}" for k in range(len(self.labels))] + list(self.kinds)
        shares = said[1].flatten() if self.labels else []
        return pa.table([*head, text, *shares, *features], names=names)

    def _believed(self, table: pa.Table) -> pa.Table:
        """Without records that lack what each must have, or say what cannot be."""
        good = pc.and_(pc.is_valid(table["__time"]), pc.is_valid(table["__prediction"]))
        for name in ("__id", "__model", "__schema"):
            short = pc.less_equal(pc.utf8_length(table[name]), LONGEST)
            good = pc.and_(good, pc.fill_null(short, False))
        for k in range(len(self.labels)):
            share = pc.fill_null(table[f"__p_{k}"], 0.0)
            within = pc.and_(pc.greater_equal(share, 0.0), pc.less_equal(share, 1.0))
            good = pc.and_(good, within)
        if not self.labels:
            good = pc.and_(good, pc.fill_null(pc.is_finite(table["__prediction"]), False))
        kept = table if pc.all(good).as_py() else table.filter(good)
        self.counts["damaged"] += table.num_rows - kept.num_rows
        return kept

    def _schema(self, form: Form) -> pa.Schema:
        many: Any = pa.list_ if form == "columns" else lambda kind: kind
        row = pa.struct([(name, many(TYPES[kind])) for name, kind in self.kinds.items()])
        shares = pa.struct([(label, many(pa.float64())) for label in self.labels])
        parts = [("prediction", many(self._said))]
        answer = pa.struct([*parts, ("probabilities", shares)] if self.labels else parts)
        more: list[Any] = []
        if form == "rows":
            row, answer = pa.struct([("rows", pa.list_(row))]), pa.list_(answer)
        elif form == "columns":
            row, more = pa.struct([("columns", row)]), [("ids", pa.list_(pa.string()))]
        return pa.schema([*_HEAD.items(), ("request", row), ("answer", answer), *more])


def _form(line: bytes) -> Form:
    """A guess; where it is wrong the line is mended, and its form is known."""
    start = line.rfind(b'"answer":') + 9
    return form_of_text(line[start : start + 15])


def _spread(found: pa.Table, lists: pa.Array) -> list[Any]:
    """The head of each line for each of its rows; ids are told apart by the position."""
    parents = pc.list_parent_indices(lists)
    head = [found[name].combine_chunks().take(parents) for name in _HEAD]
    head[0] = pc.binary_join_element_wise(head[0], pa.array(_places(lists)).cast(pa.string()), "-")
    return head


def _places(lists: pa.Array) -> Any:
    lengths = pc.list_value_length(lists).to_numpy()
    starts = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum())) - np.repeat(starts, lengths)


def _flat(values: pa.Array, like: pa.Array) -> pa.Array:
    """The values of lists; where a list is missing, as many missing ones as ``like`` has."""
    if not values.null_count:
        return values.flatten()
    lengths = pc.list_value_length(values).fill_null(0).to_numpy()
    parents = pc.list_parent_indices(like).to_numpy()
    index = (np.cumsum(lengths) - lengths)[parents] + _places(like)
    absent = pc.is_null(values).to_numpy(zero_copy_only=False)[parents]
    return values.flatten().take(pa.array(index, mask=absent))


def _fit(value: Any, kind: str, *, strict: bool) -> Any:
    """``value`` if it is of that type, else None or, where it must be, ``ValueError``."""
    if value is None:
        return None
    if kind == "datetime":
        return _moment(value)
    if kind == "number":
        good = is_number(value)
    else:
        good = type(value) is _PYTHON[kind] and (kind != "integer" or -(2**63) <= value < 2**63)
    if not good and strict:
        raise ValueError(kind)
    return value if good else None


def _moment(value: Any) -> str:
    moment = datetime.fromisoformat(value)
    moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    return moment.replace(tzinfo=None).isoformat()


def _refuse(_: str) -> None:
    raise ValueError("no JSON")
