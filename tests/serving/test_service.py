"""The application of the service, asked in this process."""

import asyncio
import datetime as dt
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from jsonschema import Draft202012Validator
from serving import CLASSES, COLUMNS, ROW, Client, bless, fitted, frame, write_blessing

Make = Callable[..., Client]
KEY = "0123456789abcdef"


@pytest.fixture(scope="module")
def blessed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A blessed model of each task, to be read."""
    return {task: bless(tmp_path_factory.mktemp(task), task) for task in CLASSES}


@pytest.fixture
def client(blessed: dict[str, Path], tmp_path: Path) -> Make:
    """An application of the blessed model of a task, with these settings."""
    del tmp_path

    def make(task: str = "binary", root: Path | None = None, **settings: Any) -> Client:
        from gatehouse.serving import predictor
        from gatehouse.serving.app import App
        from gatehouse.serving.settings import read_settings

        given = {f"SERVICE_{name.upper()}": str(value) for name, value in settings.items()}
        model = predictor.load(root or blessed[task])
        return Client(App(model, read_settings(given), 0.0))

    return make


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in ROW.items() if key != name}


# --- answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("task", CLASSES)
def test_rows_columns_and_one_row_say_what_the_pipeline_says(
    client: Make, blessed: dict[str, Path], task: str
) -> None:
    from gatehouse.serving import skops_model

    raw = frame(50, seed=1)
    expected = skops_model.load(blessed[task] / "model").predict(raw)
    rows = [plain(row) for row in raw.to_dict("records")]
    app = client(task)
    by_rows = app.post("/predict_batch", {"rows": rows}).json()
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    by_columns = app.post("/predict_batch", {"columns": columns}).json()
    one = app.post("/predict", rows[0]).json()
    assert by_rows[0] == one
    assert by_columns["prediction"] == [answer["prediction"] for answer in by_rows]
    if task == "regression":
        assert [answer["prediction"] for answer in by_rows] == pytest.approx(expected, abs=1e-5)
        assert set(one) == {"prediction", "model_digest"}
        return
    classes = CLASSES[task]
    labels = [str(label).lower() if isinstance(label, bool) else label for label in classes]
    assert [answer["prediction"] for answer in by_rows] == [
        classes[best] for best in expected.argmax(axis=1)
    ]
    for k, label in enumerate(labels):
        said = [answer["probabilities"][label] for answer in by_rows]
        assert said == pytest.approx(expected[:, k], abs=1e-5)
        assert by_columns["probabilities"][label] == said


def plain(row: Any) -> dict[str, Any]:
    """A row as JSON has it."""
    return {
        name: None if pd.isna(value) else value.isoformat() if name == "built" else value
        for name, value in row.items()
    }


@pytest.mark.parametrize("task", CLASSES)
def test_without_an_onnx_form_the_pipeline_itself_answers(
    client: Make, tmp_path: Path, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.serving import predictor

    monkeypatch.setattr(predictor, "OnnxModel", None)
    app = client(root=bless(tmp_path, task, "skops"))
    assert app.app.describe().split(", ")[0].endswith("as skops")
    answers = app.post("/predict_batch", {"rows": [ROW, without("rooms")]}).json()
    assert len(answers) == 2
    assert app.post("/predict", ROW).json() == answers[0]


def test_requests_that_wait_for_a_slow_model_are_predicted_together(
    client: Make, tmp_path: Path
) -> None:
    app = client(root=bless(tmp_path, "binary", "skops"))
    rows = [{**ROW, "size €": size} for size in np.linspace(-2, 2, 40).tolist()]

    async def all_at_once() -> list[Any]:
        head = {"x-request-id": "a"}
        asked = [app.ask("POST", "/predict", [json.dumps(r).encode()], head) for r in rows]
        return await asyncio.gather(*asked)

    together = [answer.json() for answer in asyncio.run(all_at_once())]
    assert together == app.post("/predict_batch", {"rows": rows}).json()
    text = app.get("/metrics").body.decode()
    assert 'service_requests_total{route="/predict",status="200"} 40.0' in text


def test_a_slow_models_fault_ends_no_other_request(client: Make, tmp_path: Path) -> None:
    app = client(root=bless(tmp_path, "binary", "skops"))
    inner = app.app._requests.predictor
    whole, calls = inner.rows, []

    def fails_once(rows: Any) -> Any:
        calls.append(len(rows))
        if len(calls) == 1:
            raise MemoryError
        return whole(rows)

    inner.rows = fails_once
    assert app.post("/predict", ROW).status == 500
    assert app.post("/predict", ROW).status == 200


def test_a_class_that_training_never_saw_has_probability_zero(client: Make, tmp_path: Path) -> None:
    import dataclasses

    model = fitted("binary")
    third = dataclasses.replace(model, task="multiclass", classes=["low", "middle", "high"])
    answer = client(root=bless(tmp_path, "multiclass", model=third)).post("/predict", ROW).json()
    assert answer["probabilities"]["high"] == 0
    assert sum(answer["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("moment", "same"),
    [
        ("2001-05-06T09:08:09+02:00", "2001-05-06T07:08:09"),
        ("2001-05-06T07:08:09Z", "2001-05-06T07:08:09"),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_moments_are_taken_to_utc(client: Make, moment: str, same: str | None) -> None:
    app = client()
    answer = app.post("/predict", {**ROW, "built": moment})
    assert answer.status == 200
    assert same is None or answer.json() == app.post("/predict", {**ROW, "built": same}).json()


# --- what is refused, and how ----------------------------------------------------------------

WRONG: dict[str, tuple[Any, int, str]] = {
    "no JSON": (b'{"rooms": ', 400, "not valid JSON"),
    "empty body": (b"", 400, "not valid JSON"),
    "not UTF-8": (b'{"town": "\xff"}', 400, "not valid JSON"),
    "a list": ([ROW], 422, "the body"),
    "a number": (7, 422, "the body"),
    "null": (None, 422, "the body"),
    "missing column": (without("size €"), 422, "size €: Field required"),
    "unknown column": ({**ROW, "colour": 1}, 422, "colour: Extra inputs"),
    "number as text": ({**ROW, "size €": "0.5"}, 422, "size €"),
    "integer as number": ({**ROW, "rooms": 3.5}, 422, "rooms"),
    "boolean as number": ({**ROW, "rooms": True}, 422, "rooms"),
    "number as boolean": ({**ROW, "lift": 1}, 422, "lift"),
    "number as text column": ({**ROW, "town": 5}, 422, "town"),
    "null where none may be": ({**ROW, "size €": None}, 422, "size €"),
    "NaN": (json.dumps({**ROW, "size €": float("nan")}).encode(), 422, "size €"),
    "infinity": (json.dumps({**ROW, "size €": float("inf")}).encode(), 422, "size €"),
    "too large a number": (json.dumps(ROW).replace("0.5", "1e999").encode(), 422, "size €"),
    "too large an integer": ({**ROW, "rooms": 10**30}, 422, "rooms"),
    "no date": ({**ROW, "built": "yesterday"}, 422, "built"),
    "seconds as a date": ({**ROW, "built": 989132889}, 422, "built"),
    "seconds in quotes": ({**ROW, "built": "989132889"}, 422, "built"),
    "deep nesting": (b"[" * 100_000, 400, "not valid JSON"),
    "a lone surrogate": (b'{"\\ud800": 1}', 400, "not valid JSON"),
    "long text": ({**ROW, "town": "x" * 20_000}, 422, "town"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_refused_with_the_field_named(client: Make, case: str) -> None:
    body, status, named = WRONG[case]
    answer = client().post("/predict", body)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert named in answer.json()["error"]


BATCHES: dict[str, tuple[Any, str]] = {
    "no rows": ({"rows": []}, "rows: "),
    "nothing": ({}, "rows or columns"),
    "both": ({"rows": [ROW], "columns": {k: [v] for k, v in ROW.items()}}, "rows or columns"),
    "10,000 rows": ({"rows": [ROW] * 10_000}, "rows: List should have at most 1000"),
    "one wrong row": ({"rows": [ROW, {**ROW, "rooms": "3"}]}, "rows.1.rooms"),
    "two lengths": (
        {"columns": {**{k: [v] for k, v in ROW.items()}, "rooms": [1, 2]}},
        "columns: they must have one length",
    ),
    "empty columns": ({"columns": {k: [] for k in ROW}}, "columns.size €"),
    "a column is missing": (
        {"columns": {k: [v] for k, v in ROW.items() if k != "size €"}},
        "columns.size €",
    ),
    "null rows": ({"rows": None}, "rows: "),
}


@pytest.mark.parametrize("case", BATCHES)
def test_a_wrong_batch_is_refused_with_the_place_named(client: Make, case: str) -> None:
    body, named = BATCHES[case]
    answer = client().post("/predict_batch", body)
    assert answer.status == 422
    assert named in answer.json()["error"]


def test_no_value_is_in_an_error_or_in_the_log(
    client: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    app = client()
    secret = "Müller 1961"
    for body in (
        {**ROW, "rooms": secret},
        {**ROW, "size €": secret, "lift": secret, "built": secret},
        {"rows": [{**ROW, "rooms": secret}]},
    ):
        answer = app.post("/predict_batch" if "rows" in body else "/predict", body)
        assert answer.status == 422
        assert secret not in answer.body.decode()
    # And where the service itself is at fault.
    app.app._requests.predictor.rows = lambda rows: dict[str, Any]()[str(rows)]
    answer = app.post("/predict", {**ROW, "town": secret}, x_request_id="abc")
    assert (answer.status, answer.json()) == (500, {"error": "this is a fault of the service"})
    said = capsys.readouterr().err
    assert "request abc failed with KeyError at test_service.py:" in said
    assert secret not in said


def test_a_model_without_a_finite_answer_says_so(client: Make) -> None:
    app = client("regression")
    inner = app.app._requests.predictor
    whole = inner.rows
    inner.rows = lambda rows: whole(rows)._replace(raw=np.array([np.nan]))
    answer = app.post("/predict", ROW)
    assert (answer.status, "no finite answer" in answer.json()["error"]) == (422, True)


def test_many_faults_are_not_all_listed(client: Make) -> None:
    answer = client().post("/predict", {f"x{k}": 1 for k in range(5000)})
    assert answer.status == 422
    assert len(answer.json()["fields"]) == 20
    assert "and 5000 more" in answer.json()["error"]
    assert len(answer.body) < 5000


def test_a_body_is_read_to_its_limit_and_not_further(client: Make) -> None:
    app = client(max_bytes=1000)
    small = json.dumps(ROW).encode()
    assert app.post("/predict", small).status == 200
    assert app.post("/predict", [small[:20], small[20:]]).status == 200
    assert app.post("/predict", small + b" " * (1000 - len(small))).status == 200
    for body in (b" " * 1001, [b" " * 600, b" " * 600], [b" "] * 1001):
        answer = app.post("/predict", body)
        assert (answer.status, answer.headers["connection"]) == (413, "close")
    # The length that is said is believed at once, whatever is sent.
    assert app.post("/predict", b"{}", content_length="99999999").status == 413


def test_a_body_that_never_ends_is_given_up(client: Make) -> None:
    app = client(body_seconds=0.05).app
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.03)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    head = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": head}
    asyncio.run(app(scope | {"query_string": b""}, receive, send))
    assert said[0]["status"] == 408
    assert app.numbers.waiting == 0


def test_large_bodies_together_hold_no_more_than_eight_of_the_largest(client: Make) -> None:
    app = client(max_bytes=1000)
    head = {"content-type": "application/json"}
    pieces = [b"[" + b" " * 449, b" " * 450, b"]"]

    async def crowd(clients: int) -> list[int]:
        asked = [app.ask("POST", "/predict", list(pieces), head) for _ in range(clients)]
        return [answer.status for answer in await asyncio.gather(*asked)]

    whole = app.app._bodies.read

    # Piece by piece in turn, as when all of them wait for the network.
    async def in_turn(headers: Any, receive: Any, got: Any) -> Any:
        async def later() -> Any:
            await asyncio.sleep(0)
            return await receive()

        return await whole(headers, later, got)

    app.app._bodies.read = in_turn
    assert asyncio.run(crowd(8)) == [422] * 8
    found = asyncio.run(crowd(12))
    assert set(found) == {422, 429}
    # Nothing is held when all are answered.
    assert asyncio.run(crowd(8)) == [422] * 8


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_content_type_is_refused(client: Make, kind: str) -> None:
    answer = client().post("/predict", ROW, content_type=kind)
    assert (answer.status, answer.json()["error"]) == (415, "send Content-Type: application/json")


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [("/predict", "GET", "POST"), ("/predict_batch", "DELETE", "POST"), ("/", "PUT", "GET, HEAD")],
)
def test_another_method_is_refused(client: Make, path: str, method: str, allowed: str) -> None:
    answer = client().get(path, method)
    assert (answer.status, answer.headers["allow"]) == (405, allowed)


# --- unusual values --------------------------------------------------------------------------

UNUSUAL = {"size €": 4.01, "rooms": 10, "town": "east"}


@pytest.mark.parametrize("name", UNUSUAL)
def test_values_beyond_the_schema_are_flagged_or_refused(client: Make, name: str) -> None:
    row = {**ROW, name: UNUSUAL[name]}
    flags = client()
    assert flags.post("/predict", row).status == 200
    text = flags.get("/metrics").body.decode()
    assert f'service_unusual_values_total{{column="{name}"}} 1.0' in text
    refuses = client(unusual="refuse")
    for path, body in (
        ("/predict", row),
        ("/predict_batch", {"rows": [row]}),
        ("/predict_batch", {"columns": {k: [v] for k, v in row.items()}}),
    ):
        answer = refuses.post(path, body)
        assert answer.status == 422
        assert name in answer.json()["error"]


@pytest.mark.parametrize("row", [{**ROW, "size €": 4.0, "rooms": 9}, {"size €": -4.0}])
def test_the_bounds_themselves_and_what_is_missing_are_usual(client: Make, row: Any) -> None:
    app = client()
    assert app.post("/predict", row).status == 200
    assert "service_unusual_values_total{" not in app.get("/metrics").body.decode()
    assert client(unusual="refuse").post("/predict", row).status == 200


# --- keys, rates, headers --------------------------------------------------------------------


def test_with_keys_nobody_else_is_answered(client: Make) -> None:
    app = client(api_keys=f"anna:{KEY} ben:{KEY[::-1]}")
    for headers in ({}, {"x_api_key": KEY[:-1]}, {"authorization": "Bearer nonsense"}):
        answer = app.post("/predict", ROW, **headers)
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    for headers in ({"x_api_key": KEY}, {"authorization": f"Bearer {KEY[::-1]}"}):
        assert app.post("/predict", ROW, **headers).status == 200
    assert app.get("/metrics").status == 401
    assert app.get("/metrics", x_api_key=KEY).status == 200
    # Engines ask these without a key; the pages are off unless they are asked for.
    assert [app.get(path).status for path in ("/livez", "/readyz", "/", "/docs.json")] == [
        200, 200, 404, 404,
    ]  # fmt: skip
    assert client(api_keys=f"anna:{KEY}", pages="on").get("/").status == 200


def test_keys_come_from_a_file_too(client: Make, tmp_path: Path) -> None:
    secret = tmp_path / "keys"
    secret.write_text(f"anna:{KEY}\n")
    app = client(api_keys_file=secret)
    assert app.post("/predict", ROW, x_api_key=KEY).status == 200
    assert app.post("/predict", ROW).status == 401


TOKEN_SECRET = "a secret of more than thirty-two characters"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 200),
        ({"aud": "others"}, 401),
        ({"iss": "others"}, 401),
        ({"exp": dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)}, 401),
        ({"exp": None}, 401),
        ({"sub": None}, 401),
    ],
)
def test_tokens(client: Make, tmp_path: Path, change: dict[str, Any], status: int) -> None:
    import jwt

    secret = tmp_path / "jwt"
    secret.write_text(TOKEN_SECRET)
    app = client(jwt_key_file=secret, jwt_algorithm="HS256", jwt_audience="us", jwt_issuer="we")
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)
    claims = {"sub": "anna", "aud": "us", "iss": "we", "exp": soon} | change
    claims = {name: value for name, value in claims.items() if value is not None}
    token = jwt.encode(claims, TOKEN_SECRET, algorithm="HS256")
    assert app.post("/predict", ROW, authorization=f"Bearer {token}").status == status
    forged = jwt.encode(claims, "another" + TOKEN_SECRET, algorithm="HS256")
    assert app.post("/predict", ROW, authorization=f"Bearer {forged}").status == 401


def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(
    client: Make, tmp_path: Path
) -> None:
    import jwt
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ed25519

    private = ed25519.Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
    path = tmp_path / "jwt.pem"
    path.write_bytes(public)
    app = client(jwt_key_file=path, jwt_algorithm="EdDSA", jwt_audience="us", jwt_issuer="we")
    soon = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)
    claims = {"sub": "anna", "aud": "us", "iss": "we", "exp": soon}
    good = jwt.encode(claims, private, algorithm="EdDSA")
    assert app.post("/predict", ROW, authorization=f"Bearer {good}").status == 200
    unsigned = jwt.encode(claims, "", algorithm="none")
    assert app.post("/predict", ROW, authorization=f"Bearer {unsigned}").status == 401
    hmac = jwt.encode(claims, "x" * 32, algorithm="HS256")
    assert app.post("/predict", ROW, authorization=f"Bearer {hmac}").status == 401


def test_a_key_has_a_rate_of_its_own(client: Make) -> None:
    app = client(api_keys=f"anna:{KEY} ben:{KEY[::-1]}", rate=0.5)
    assert app.post("/predict", ROW, x_api_key=KEY).status == 200
    answer = app.post("/predict", ROW, x_api_key=KEY)
    assert (answer.status, answer.headers["retry-after"]) == (429, "2")
    assert app.post("/predict", ROW, x_api_key=KEY[::-1]).status == 200


def test_too_many_at_once_are_sent_away_with_a_time_to_come_back(client: Make) -> None:
    app = client(max_waiting=3)
    body, head = json.dumps(ROW).encode(), {"content-type": "application/json"}

    async def crowd() -> list[int]:
        gate = asyncio.Event()
        whole = app.app._bodies.read

        async def slow_body(*arguments: Any) -> bytes:
            await gate.wait()
            return bytes(await whole(*arguments))

        app.app._bodies.read = slow_body
        asked = [asyncio.create_task(app.ask("POST", "/predict", [body], head)) for _ in range(5)]
        await asyncio.sleep(0.01)
        assert not app.app.ready
        gate.set()
        answers = await asyncio.gather(*asked)
        assert {a.headers.get("retry-after") for a in answers if a.status == 429} == {"2"}
        return sorted(answer.status for answer in answers)

    assert asyncio.run(crowd()) == [200, 200, 200, 429, 429]
    assert app.app.ready


def test_every_answer_has_the_safe_headers_and_an_id(client: Make) -> None:
    app = client()
    answers = [app.post("/predict", ROW), app.get("/"), app.get("/no"), app.post("/predict", b"")]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert not any(name.startswith("access-control") for name in answer.headers)
    assert len({answer.headers["x-request-id"] for answer in answers}) == 4
    given = app.post("/predict", ROW, x_request_id="order-7.2")
    assert given.headers["x-request-id"] == "order-7.2"
    for odd in ("a b", "x" * 65, "ü", "a\tb"):
        assert app.post("/predict", ROW, x_request_id=odd).headers["x-request-id"] != odd


BAD_SETTINGS = {
    "PORT": "many",
    "UNUSUAL": "shrug",
    "API_KEYS": "anna:short",
    "API_KEYS_FILE": "/no/such/file",
    "JWT_KEY_FILE": "/no/such/file",
    "NO_SUCH_SETTING": "1",
    "LOG": "no.such.module:function",
    "EXPLAIN": "json:no_such_function",
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_a_wrong_setting_is_named_and_nothing_starts(
    client: Make, blessed: dict[str, Path], name: str
) -> None:
    del blessed
    from gatehouse.core.errors import InputError

    with pytest.raises(InputError, match=r"SERVICE_|jwt_audience"):
        client(**{name.lower(): BAD_SETTINGS[name]})


def test_keys_that_are_empty_do_not_let_everybody_in(client: Make, tmp_path: Path) -> None:
    from gatehouse.core.errors import InputError

    with pytest.raises(InputError, match="would let everybody in"):
        client(api_keys="")
    (tmp_path / "keys").write_text("\n")
    with pytest.raises(InputError, match="would let everybody in"):
        client(api_keys_file=tmp_path / "keys")


# --- the model it takes ----------------------------------------------------------------------


def change(name: str) -> Callable[[Path], None]:
    def edit(root: Path) -> None:
        path = root / "model" / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])

    return edit


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "onnx changed": (change("model.onnx"), "model-not-blessed"),
    "skops changed": (change("model.skops"), "model-not-blessed"),
    "card changed": (change("model.json"), "model-not-blessed"),
    "onnx gone": (lambda r: (r / "model/model.onnx").unlink(), "model-not-blessed"),
    "skops gone": (lambda r: (r / "model/model.skops").unlink(), "model-missing"),
    "no blessing": (lambda r: (r / "blessing.json").unlink(), "blessing-damaged"),
    "not blessed": (lambda r: write_blessing(r, blessed=False), "model-not-blessed"),
    "unknown format": (lambda r: write_blessing(r, "pickle"), "blessing-damaged"),
    "no format": (lambda r: write_blessing(r, serving=None), "blessing-damaged"),
}


@pytest.mark.gate(
    "model file", "not the one that was blessed, at the start of the service", "closed"
)
@pytest.mark.parametrize("case", BROKEN)
def test_a_model_that_is_not_the_blessed_one_is_refused(
    client: Make, tmp_path: Path, case: str
) -> None:
    from gatehouse.core.errors import InputError

    spoil, code = BROKEN[case]
    spoil(bless(tmp_path, "binary"))
    with pytest.raises(InputError) as refused:
        client(root=tmp_path)
    assert refused.value.code == code


@pytest.mark.gate("model file", "not the one that was blessed, at the start of the service", "open")
def test_the_blessed_model_is_taken(client: Make, tmp_path: Path) -> None:
    assert client(root=bless(tmp_path, "binary")).get("/readyz").status == 200


def test_a_blessed_file_that_is_no_onnx_is_refused(client: Make, tmp_path: Path) -> None:
    from gatehouse.core.errors import InputError

    (bless(tmp_path, "binary") / "model/model.onnx").write_bytes(b"no onnx")
    write_blessing(tmp_path)
    with pytest.raises(InputError, match=r"model\.onnx is damaged"):
        client(root=tmp_path)


def test_a_schema_with_other_features_than_the_model_is_refused(
    client: Make, tmp_path: Path
) -> None:
    from gatehouse.core.errors import InputError

    path = bless(tmp_path, "binary") / "schema.yaml"
    schema = yaml.safe_load(path.read_text())
    del schema["columns"]["rooms"]
    path.write_text(yaml.safe_dump(schema, sort_keys=False))
    with pytest.raises(InputError, match="other features, classes or task"):
        client(root=tmp_path)


# --- hooks -----------------------------------------------------------------------------------

SEEN: list[Any] = []


def keep(batch: Any) -> None:
    SEEN.append(batch)


def fail(batch: Any) -> None:
    raise RuntimeError(str(batch))


def explain(row: dict[str, Any], answer: dict[str, Any]) -> Any:
    return {"most": max(row, key=str), "said": answer["prediction"]}


def test_a_log_hook_is_given_every_prediction(client: Make) -> None:
    SEEN.clear()
    app = client(log=f"{__name__}:keep")
    app.post("/predict", {**ROW, "rooms": 99}, x_request_id="one")
    app.post("/predict_batch", {"columns": {k: [v, v] for k, v in ROW.items()}})
    app.post("/predict", {**ROW, "rooms": "no"})
    one, two = SEEN
    assert (one.request_id, one.unusual, one.columns) == ("one", ["rooms"], list(COLUMNS))
    assert one.rows[0][:4] == (0.5, 99, True, "north")
    assert one.raw.shape == (1, 2)
    assert one.seconds > 0
    assert len(two.rows) == 2


def test_a_hook_that_fails_is_counted_and_the_answer_stays(
    client: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    app = client(log=f"{__name__}:fail")
    assert app.post("/predict", ROW).status == 200
    assert "service_hook_failures_total 1.0" in app.get("/metrics").body.decode()
    assert "log hook failed with RuntimeError\n" in capsys.readouterr().err


def test_an_explanation_where_it_is_asked_for(client: Make) -> None:
    app = client(explain=f"{__name__}:explain")
    assert "explanation" not in app.post("/predict", ROW).json()
    answer = app.post("/predict?explain=1", ROW).json()
    assert answer["explanation"] == {"most": "town", "said": answer["prediction"]}
    assert client().post("/predict?explain=1", ROW).status == 422


# --- counts and pages ------------------------------------------------------------------------


def test_counts(client: Make) -> None:
    app = client()
    app.post("/predict", ROW)
    app.post("/predict_batch", {"rows": [ROW] * 7})
    app.post("/predict", {})
    app.get("/no")
    text = app.get("/metrics").body.decode()
    for line in (
        'service_requests_total{route="/predict",status="200"} 1.0',
        'service_requests_total{route="/predict",status="422"} 1.0',
        'service_requests_total{route="other",status="404"} 1.0',
        'service_request_seconds_count{route="/predict"} 2.0',
        'service_batch_rows_bucket{le="1"} 1.0',
        'service_batch_rows_bucket{le="10"} 2.0',
        "service_batch_rows_sum 8.0",
        "service_waiting 1.0",
    ):
        assert line in text.splitlines(), text
    assert sum(float(v) for v in values(text, "service_predictions_total{")) == 8
    assert values(text, "service_model{model_digest=") == ["1.0"]
    assert float(values(text, "service_model_age_seconds ")[0]) > 1e9


def values(text: str, start: str) -> list[str]:
    return [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(start)]


def test_predicted_values_of_a_regression_are_counted_by_their_range(client: Make) -> None:
    app = client("regression")
    app.post("/predict_batch", {"rows": [ROW] * 3})
    text = app.get("/metrics").body.decode()
    assert 'service_predictions_bucket{le="+Inf"} 3.0' in text
    assert 'service_predictions_bucket{le="-5.0"} 0.0' in text


def test_what_clients_send_makes_no_new_label(client: Make) -> None:
    app = client()

    def strange(start: int, end: int) -> int:
        for k in range(start, end):
            app.get(f"/nothing-{k}")
            app.get("/", method=f"M{k}")
            app.post("/predict", {f"column {k}": 1})
        return len(app.get("/metrics").body.splitlines())

    strange(0, 1)
    assert strange(1, 3) == strange(3, 300)


@pytest.mark.parametrize("task", CLASSES)
def test_the_page_for_programs_is_what_is_done(client: Make, task: str) -> None:
    app = client(task)
    page = app.get("/docs.json").json()
    rows = [ROW, {"size €": 1.0}, {**ROW, "rooms": None}]
    columns = {name: [ROW[name]] for name in ROW}
    wrong = [{**ROW, "x": 1}, without("size €"), {**ROW, "rooms": "3"}]
    for path, right, bad in (
        ("/predict", rows, wrong),
        (
            "/predict_batch",
            [{"rows": rows}, {"columns": columns}],
            [{"rows": []}, {}, {"rows": rows, "columns": columns}, {"rows": wrong[:1]}],
        ),
    ):
        said = page["paths"][path]["post"]
        parts = (said["requestBody"], said["responses"]["200"])
        asked, told = (
            Draft202012Validator(
                part["content"]["application/json"]["schema"] | {"components": page["components"]}
            )
            for part in parts
        )
        for body in right:
            assert not list(asked.iter_errors(body))
            answer = app.post(path, body)
            assert answer.status == 200
            assert not list(told.iter_errors(answer.json()))
        for body in bad:
            assert list(asked.iter_errors(body))
            assert app.post(path, body).status == 422


def test_the_page_for_people_runs_no_script_of_a_column(client: Make, tmp_path: Path) -> None:
    path = bless(tmp_path, "binary") / "schema.yaml"
    schema = yaml.safe_load(path.read_text())
    schema["columns"]["town"]["categories"] = ["</script><script>alert(1)</script>"]
    path.write_text(yaml.safe_dump(schema, sort_keys=False))
    answer = client(root=tmp_path).get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "<script>alert" not in answer.body.decode()
    assert "unsafe-inline" not in answer.headers["content-security-policy"]


def test_pages_can_be_switched_off(client: Make) -> None:
    app = client(pages="off")
    assert [app.get(path).status for path in ("/", "/docs.json", "/readyz")] == [404, 404, 200]


def test_a_head_request_has_the_length_and_no_body(client: Make) -> None:
    answer = client().get("/docs.json", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 100


# --- Arrow -----------------------------------------------------------------------------------

ARROW = "application/vnd.apache.arrow.stream"


def stream(table: Any) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def arrow_table(rows: int = 30) -> Any:
    import pyarrow as pa

    return pa.Table.from_pandas(frame(rows, seed=2), preserve_index=False)


@pytest.mark.parametrize("task", CLASSES)
def test_arrow_gets_arrow_and_the_same_answers(client: Make, task: str) -> None:
    import pyarrow as pa

    app = client(task)
    answer = app.post("/predict_batch", stream(arrow_table()), content_type=ARROW)
    assert (answer.status, answer.headers["content-type"]) == (200, ARROW)
    table = pa.ipc.open_stream(answer.body).read_all()
    rows = [plain(row) for row in frame(30, seed=2).to_dict("records")]
    expected = app.post("/predict_batch", {"rows": rows}).json()
    assert table["prediction"].to_pylist() == [one["prediction"] for one in expected]
    digest = table.schema.metadata[b"model_digest"].decode()
    assert digest == expected[0]["model_digest"]


def test_arrow_is_held_to_the_same_rules(client: Make) -> None:
    import pyarrow as pa

    app, good = client(), arrow_table()
    cases = {
        "unknown column": good.append_column("x", pa.array([1] * 30)),
        "this column is missing": good.drop_columns("size €"),
        "must be number": good.set_column(0, "size €", pa.array(["1"] * 30)),
        "must be finite": good.set_column(0, "size €", pa.array([float("nan")] * 30)),
        "a value is missing": good.set_column(0, "size €", pa.array([None] * 30, pa.float64())),
        "has 0 rows": good.slice(0, 0),
    }
    for said, table in cases.items():
        answer = app.post("/predict_batch", stream(table), content_type=ARROW)
        assert answer.status == 422, said
        assert said in answer.json()["error"]
    coded = good.set_column(3, "town", good["town"].dictionary_encode())
    assert app.post("/predict_batch", stream(coded), content_type=ARROW).status == 200
    assert app.post("/predict", stream(good), content_type=ARROW).status == 415


def test_arrow_with_changed_bytes_is_refused_or_answered_and_nothing_else(client: Make) -> None:
    app, whole = client(), stream(arrow_table())
    rng = np.random.default_rng(4)
    found = set()
    for _ in range(300):
        broken = bytearray(whole)
        for place in rng.integers(0, len(whole), 4):
            broken[place] = rng.integers(0, 256)
        found.add(app.post("/predict_batch", bytes(broken), content_type=ARROW).status)
    assert found <= {200, 422}


def test_without_pyarrow_it_says_what_to_add(client: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    body = stream(arrow_table())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    answer = client().post("/predict_batch", body, content_type=ARROW)
    assert (answer.status, "add pyarrow" in answer.json()["error"]) == (415, True)
