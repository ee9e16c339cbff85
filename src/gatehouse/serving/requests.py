"""From a body to an answer: validate, predict, write."""

import asyncio
import importlib
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel
from pydantic_core import to_json

from gatehouse.core.console import say
from gatehouse.core.errors import InputError

from . import inputs
from .access import Refused
from .numbers import Numbers
from .predictor import Found, Predictor, Raw, Rows
from .settings import Settings

ARROW = b"application/vnd.apache.arrow.stream"
# Below this many bytes handing work to a thread costs more than it leaves to others.
INLINE = 128 * 1024
TOGETHER = 500  # rows of different requests predicted in one call, where calls are slow

After = Callable[[str, float], None]


@dataclass(slots=True)
class Reply:
    """An answer, and what is done once it is sent, given the request's id and seconds."""

    status: int
    body: bytes
    type: bytes = b"application/json"
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    found: Found | None = None
    after: After | None = None
    # For the inference log: the body or its columns, and the answer where it is not this one.
    asked: Any = None
    said: Any = None


class Batch(NamedTuple):
    """What a log hook is given: one request's rows and what the model said."""

    request_id: str
    model_digest: str
    columns: list[str]
    rows: list[tuple[Any, ...]]
    raw: Raw
    unusual: list[str]
    seconds: float


class Hooks(NamedTuple):
    """Functions of the project's own; None costs nothing."""

    log: Callable[[Batch], None] | None = None
    explain: Callable[[dict[str, Any], dict[str, Any]], Any] | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Hooks":
        """Import what the settings name; raises ``InputError`` where it is not there."""
        return cls(_load("log", settings.log), _load("explain", settings.explain))


class Requests:
    """Everything between a body and an answer."""

    def __init__(
        self, predictor: Predictor, settings: Settings, numbers: Numbers, hooks: Hooks
    ) -> None:
        self.predictor, self.settings, self.hooks = predictor, settings, hooks
        schema, refuse = predictor.schema, settings.unusual == "refuse"
        self.row: Any = inputs.row_model(schema, refuse=refuse)
        columns = inputs.columns_model(schema, settings.max_column_rows, refuse=refuse)
        self.body: Any = inputs.batch_model(self.row, columns, settings.max_rows)
        self.answer = inputs.answer_model(schema, explained=hooks.explain is not None)
        self.answers = inputs.answers_model(schema)
        self._numbers = numbers
        self._logged = settings.log_folder is not None
        self._read_row = self.row.__pydantic_validator__.validate_json
        self._read_batch = self.body.__pydantic_validator__.validate_json
        self._pool = ThreadPoolExecutor(1, "predict")
        self._waiting: list[tuple[Rows, asyncio.Future[Found]]] = []
        self._turn: asyncio.Task[None] | None = None

    def warm_up(self) -> None:
        """Predict one row of nothing, so that the first client does not wait."""
        blank = {"integer": 0, "number": 0.0, "boolean": False, "string": "", "datetime": None}
        row = [blank[column.type] for column in self.predictor.schema.features.values()]
        self.predictor.answers(self.predictor.rows([row]).raw)

    async def one(self, body: bytes, *, explain: bool) -> Reply:
        """Predict the row that the body is."""
        rows = [tuple(self._read_row(body).__dict__.values())]
        found = await self._predict(rows) if self.predictor.slow else self.predictor.rows(rows)
        self._look(found)
        answer = self.predictor.answers(found.raw)[0]
        said = None
        if explain:
            said = to_json(answer)  # an explanation may name values that are not logged
            answer |= {"explanation": self._explain(rows[0], answer)}
        return self._count(self._reply(to_json(answer), rows, found, body, said))

    async def batch(self, body: bytes, *, arrow: bool) -> Reply:
        """Predict a batch; rows get rows back, columns get columns, Arrow gets Arrow."""
        work = partial(self._arrow if arrow else self._json, body)
        if len(body) < INLINE and not self.predictor.slow:
            return self._count(work())
        loop = asyncio.get_running_loop()
        return self._count(await loop.run_in_executor(self._pool, work))

    def _count(self, reply: Reply) -> Reply:
        # Here and not where the reply is made, which may be in another thread.
        if reply.found is not None:
            self._numbers.predicted(*reply.found)
        return reply

    def _json(self, body: bytes) -> Reply:
        batch = self._read_batch(body)
        given = batch.model_fields_set
        if len(given) != 1:
            raise Refused(422, "rows or columns: give one of the two")
        if "rows" in given:
            rows = [tuple(row.__dict__.values()) for row in batch.rows]
            found = self.predictor.rows(rows)
            self._look(found)
            return self._reply(to_json(self.predictor.answers(found.raw)), rows, found, body)
        columns = _columns(self.predictor.encoder.names, batch.columns)
        found = self.predictor.columns(columns)
        self._look(found)
        answer = self.predictor.answer_columns(found.raw)
        return self._reply(to_json(answer), columns, found, body)

    def _arrow(self, body: bytes) -> Reply:
        from .arrow import read_stream, write_stream

        settings, schema = self.settings, self.predictor.schema
        columns = read_stream(body, schema, settings.max_column_rows)
        found = self.predictor.columns(columns)
        self._look(found)
        if found.unusual and settings.unusual == "refuse":
            raise Refused(422, f"{found.unusual[0]}: a value is beyond what schema.yaml says")
        answer = self.predictor.answer_columns(found.raw)
        reply = self._reply(write_stream(answer), columns, found, columns, answer)
        reply.type = ARROW
        return reply

    def _look(self, found: Found) -> None:
        if not np.isfinite(found.raw).all():
            raise Refused(422, "the model has no finite answer for these values")

    def _reply(self, body: bytes, rows: Any, found: Found, asked: Any, said: Any = None) -> Reply:
        reply = Reply(200, body, found=found)
        if self._logged:
            reply.asked, reply.said = asked, said
        if self.hooks.log is not None:
            reply.after = partial(self._log, rows, found)
        return reply

    def _log(self, rows: Any, found: Found, request_id: str, seconds: float) -> None:
        names = self.predictor.encoder.names
        if isinstance(rows, dict):
            rows = list(zip(*(rows[name] for name in names), strict=True))
        batch = Batch(request_id, self.predictor.digest, names, rows, *found, seconds)
        try:
            assert self.hooks.log is not None
            self.hooks.log(batch)
        except Exception as error:  # whatever a hook does, the answer is out
            self._numbers.hook_failures += 1
            say(f"service: the log hook failed with {type(error).__name__}")

    def _explain(self, row: Collection[Any], answer: dict[str, Any]) -> Any:
        if self.hooks.explain is None:
            raise Refused(422, "explain: no explanation is set up (SERVICE_EXPLAIN)")
        named = dict(zip(self.predictor.encoder.names, row, strict=True))
        return self.hooks.explain(named, dict(answer))

    async def _predict(self, rows: Rows) -> Found:
        """While one batch is predicted, others wait and become the next one: no timer is needed."""
        future: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self._waiting.append((rows, future))
        if self._turn is None or self._turn.done():
            self._turn = asyncio.create_task(self._take_turns())
        return await future

    async def _take_turns(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            taken, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
            try:
                together = [row for rows, _ in taken for row in rows]
                found = await loop.run_in_executor(self._pool, self.predictor.rows, together)
                answers = [Found(found.raw[k : k + 1], found.unusual) for k in range(len(taken))]
            except Exception as error:
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), answer in zip(taken, answers, strict=True):
                if not future.done():
                    future.set_result(answer)


def _columns(names: list[str], given: BaseModel) -> dict[str, Sequence[Any]]:
    values = given.__dict__.values()
    lengths = {len(column) for column in values if column is not None}
    if len(lengths) != 1:
        raise Refused(422, "columns: they must have one length")
    blank = [None] * lengths.pop()
    return {n: blank if v is None else v for n, v in zip(names, values, strict=True)}


def _load(name: str, path: str) -> Any:
    if not path:
        return None
    module, _, function = path.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError):
        raise InputError(
            "setting-import",
            f"SERVICE_{name.upper()} names {path!r}, which cannot be imported: say module:function",
        ) from None
