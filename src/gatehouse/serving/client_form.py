"""Client of the service, made of its schema.yaml by `gatehouse client`: make it anew, do not edit.

    from service_client import Client, ServiceError

    client = Client("http://localhost:3000")
    client.predict(row)["prediction"]

It wants nothing but Python 3.11 or later.
"""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import datetime
from email.message import Message
from http.client import HTTPException
from typing import Any, Literal, NotRequired, TypedDict

MOST_ROWS = 1000  # of one request
LONGEST_WAIT = 60.0  # seconds; who asks us to wait longer is not waited for

# --- from schema.yaml; here a stand-in, so that this form is code that tools can look at
Row = TypedDict("Row", {"some column": NotRequired[float | None]})
Label = Literal["one", "another"]


class Prediction(TypedDict):
    """One answer."""

    prediction: Label
    probabilities: dict[str, float]
    model_digest: str


# --- for every schema


class ServiceError(Exception):
    """What the service said: one sentence, and the problem of each field that it named.

    ``status`` is the one of HTTP, 0 where there was no answer. No value of a row is in it.
    """

    def __init__(self, status: int, sentence: str, fields: dict[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.fields = status, fields or {}

    def moved(self, rows: int) -> "ServiceError":
        """The same of a batch that is part of a longer one, by the row's place in that one."""
        sentence, fields = str(self), {}
        for name, problem in self.fields.items():
            first, _, rest = name.partition(".")
            place, dot, column = rest.partition(".")
            if first == "rows" and place.isdigit():
                moved = f"rows.{int(place) + rows}{dot}{column}"
                if sentence.startswith(f"{name}: "):
                    sentence = moved + sentence[len(name) :]
                name = moved
            fields[name] = problem
        return ServiceError(self.status, sentence, fields)


class Client:
    """Asks the service at ``url``; may be shared by threads."""

    def __init__(
        self, url: str, *, key: str | None = None, timeout: float = 10, retries: int = 2
    ) -> None:
        """``timeout``: seconds of one attempt; ``retries``: attempts more after a 429 or 503."""
        if not url.lower().startswith(("http://", "https://")):
            raise ValueError("url: it must begin with http:// or https://")
        self._url, self._timeout, self._retries = url.rstrip("/"), timeout, retries
        self._headers = {"Content-Type": "application/json"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        self._open = urllib.request.build_opener(_NoRedirect).open

    def predict(self, row: Row) -> Prediction:
        """Predict one row; raises ``ServiceError``."""
        answer: Prediction = self._post("/predict", row)
        return answer

    def predict_batch(self, rows: Sequence[Row]) -> list[Prediction]:
        """Predict rows, in their order, in as many requests as that takes."""
        answers: list[Prediction] = []
        most = MOST_ROWS
        while len(answers) < len(rows):
            start = len(answers)
            part = list(rows[start : start + most])
            try:
                answers += self._post("/predict_batch", {"rows": part})
            except ServiceError as error:
                if error.status != 413 or len(part) == 1:
                    raise error.moved(start) from None
                most = (len(part) + 1) // 2  # wide rows: too many bytes for one request
        return answers

    def _post(self, path: str, body: object) -> Any:
        try:
            data = json.dumps(body, default=_iso_8601, allow_nan=False).encode()
        except ValueError:
            raise ValueError("a value is NaN or infinite: give None where it is missing") from None
        request = urllib.request.Request(self._url + path, data, self._headers)
        attempt = 0
        while True:
            try:
                with self._open(request, timeout=self._timeout) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as refusal:
                with refusal:
                    error, wait = _error(refusal), _wait(refusal.headers, attempt)
                again = error.status in (429, 503) and wait <= LONGEST_WAIT
                if not again or attempt >= self._retries:
                    raise error from None
            except (OSError, HTTPException, ValueError) as fault:
                reason = getattr(fault, "reason", None) or str(fault) or type(fault).__name__
                raise ServiceError(0, f"{self._url}{path} gives no answer: {reason}") from None
            attempt += 1
            time.sleep(wait)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A key must not travel to wherever an answer points."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _iso_8601(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__}: give int, float, bool, str, datetime or None")


def _error(refusal: urllib.error.HTTPError) -> ServiceError:
    try:
        said = json.load(refusal)
        fields = {str(one["field"]): str(one["problem"]) for one in said.get("fields", ())}
        return ServiceError(refusal.code, str(said["error"]), fields)
    except (OSError, HTTPException, ValueError, LookupError, TypeError, AttributeError):
        return ServiceError(refusal.code, f"the answer is {refusal.code} {refusal.reason}")


def _wait(headers: Message, attempt: int) -> float:
    try:
        return max(0.0, int(headers["Retry-After"]))
    except (TypeError, ValueError):  # none, or a date
        return float(2**attempt)
