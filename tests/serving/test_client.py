"""`gatehouse client`: what is generated for which schema, and how it behaves towards a service."""

import contextlib
import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal, NotRequired, get_args, get_type_hints

import pytest
from baked import BakedProject
from odd_service import MARKUP, QUOTES, WHEN, golden, odd_project, served
from projects import shared, small_project

from gatehouse.core.project import Project

KEY = "0123456789abcdef"
Reply = tuple[int, dict[str, str], Any]  # status, headers, and what is said
COLUMNS: dict[str, dict[str, Any]] = {
    "plain": {"type": "number", "nullable": False, "min": -1.5, "max": 2},
    "class": {"type": "integer"},
    "def": {"type": "boolean", "nullable": False},
    "two words": {"type": "string", "categories": ["a", "it's", 'say "x"', "b\\", "c\nd"]},
    'it\'s "both"': {"type": "datetime", "nullable": False},
    '"': {"type": "number"},
    "'": {"type": "number"},
    '"""': {"type": "number"},
    "\\": {"type": "number"},
    "{braces} %s": {"type": "number"},
    "# --- for every schema\n": {"type": "number"},
    "line\nbreak\ttab\x00": {"type": "number"},
    "🕑 größe ’ а": {"type": "number"},  # noqa: RUF001 - an apostrophe and a Cyrillic letter
    "\u202ereversed": {"type": "number"},
    "long " * 60: {"type": "string"},
    "__proto__": {"type": "number", "categories": None},
    "service_client": {"type": "number"},
    "target": {"type": "number", "role": "target"},
    "left out": {"type": "string", "role": "ignore"},
}
STRICT = {"only": {"type": "integer", "nullable": False}, "y": {"type": "string", "role": "target"}}
SCHEMAS: dict[str, dict[str, Any]] = {
    "regression": {"task": "regression", "target": "target", "columns": COLUMNS},
    "booleans": {"task": "binary", "target": "y", "classes": [False, True], "columns": STRICT},
    "numbers": {"task": "multiclass", "target": "y", "classes": [-3, 7, 12], "columns": STRICT},
    "odd_labels": {
        "task": "multiclass",
        "target": "y",
        "classes": ["it's", 'say "x"', "", "a\nb", "🕑", "l" * 200],
        "columns": STRICT,
    },
}


@pytest.fixture(scope="session")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A client of each of the schemas, as files."""
    from gatehouse.core.config.schema import Schema
    from gatehouse.serving.client import client

    folder = tmp_path_factory.mktemp("clients")
    for name, schema in SCHEMAS.items():
        text = client(Schema.model_validate(schema), f"{name}_client")
        (folder / f"{name}_client.py").write_text(text, encoding="utf-8")
    return folder


def imported(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_row_has_the_features_by_their_real_names(clients: Path) -> None:
    row = imported(clients / "regression_client.py").Row
    features = [n for n, c in COLUMNS.items() if c.get("role", "feature") == "feature"]
    assert list(row.__annotations__) == features
    hints = get_type_hints(row, include_extras=True)
    assert hints["plain"] is float
    assert hints["class"] == NotRequired[int | None]
    assert hints["def"] is bool
    assert hints["two words"] == NotRequired[str | None]
    assert hints['it\'s "both"'] is datetime
    assert row.__required_keys__ == {n for n in features if COLUMNS[n].get("nullable") is False}


@pytest.mark.parametrize("name", SCHEMAS)
def test_an_answer_has_the_classes_or_a_number(clients: Path, name: str) -> None:
    module = imported(clients / f"{name}_client.py")
    answer = get_type_hints(module.Prediction)
    if name == "regression":
        assert answer["prediction"] is float
        assert "probabilities" not in answer
    else:
        assert answer["prediction"] == Literal[tuple(SCHEMAS[name]["classes"])]
        assert list(map(type, get_args(answer["prediction"]))) == list(
            map(type, SCHEMAS[name]["classes"])
        )


def test_nothing_invisible_stands_in_the_file(clients: Path) -> None:
    for path in clients.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not [c for c in text if not c.isprintable() and c != "\n"], path.name


def tool(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_ruff_of_a_project_finds_nothing(clients: Path, tmp_path: Path) -> None:
    small_project(tmp_path, "pyproject.toml")
    config = f"--config={tmp_path / 'pyproject.toml'}"
    assert not tool("ruff", "check", "--no-cache", config, clients, folder=tmp_path)
    assert not tool("ruff", "format", "--no-cache", "--check", config, clients, folder=tmp_path)


USE = """
from datetime import datetime
from regression_client import Client, Row
row: Row = {
    "plain": 1, "def": True, 'it\\'s "both"': datetime(2025, 1, 1), "class": None,
}
value: float = Client("http://localhost").predict(row)["prediction"]
"""
MISUSES = (
    'Missing key "plain"',
    'TypedDict item "class" has type "int | None"',
    'variable has type "str"',
)


def test_mypy_finds_nothing_in_it_and_the_mistakes_of_its_user(clients: Path) -> None:
    def look() -> str:
        names = sorted(path.name for path in clients.glob("*.py"))
        return tool("mypy", "--strict", "--cache-dir=.cache", *names, folder=clients)

    user = clients / "user.py"
    user.write_text(USE, encoding="utf-8")
    assert not look()
    wrong = USE.replace('"plain": 1, ', "").replace('"class": None', '"class": "x"')
    user.write_text(wrong.replace("value: float", "value: str"), encoding="utf-8")
    said = look()
    user.unlink()
    for problem in MISUSES:
        assert problem in said, said


# --- towards a service that answers as it is told


class Told(ThreadingHTTPServer):
    """Gives the replies in turn, the last one for ever; keeps what it was sent."""

    def __init__(self, *replies: Reply) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.replies = list(replies)
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Answering(BaseHTTPRequestHandler):
    server: Told

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, dict(self.headers), body))
        replies = self.server.replies
        status, headers, said = replies.pop(0) if len(replies) > 1 else replies[0]
        said = said(body) if callable(said) else said
        data = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST  # noqa: N815 - the name is the base class's

    def log_message(self, *_: Any) -> None:
        """Not on the terminal."""


@pytest.fixture
def told() -> Iterator[Callable[..., Told]]:
    servers: list[Told] = []

    def start(*replies: Reply) -> Told:
        servers.append(Told(*replies))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def client(clients: Path) -> Any:
    return imported(clients / "numbers_client.py")


@pytest.fixture
def slept(client: Any, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited, without waiting them."""
    waits: list[float] = []
    monkeypatch.setattr(client.time, "sleep", waits.append)
    return waits


GOOD = {"prediction": 7, "probabilities": {}, "model_digest": "sha256:1"}
BUSY = {"error": "too many requests at once"}


def test_a_row_goes_as_json_with_dates_as_iso_8601(client: Any, told: Callable[..., Told]) -> None:
    server = told((200, {}, GOOD))
    row = {"only": 1, "at": datetime(2025, 1, 2, 3, tzinfo=UTC), "none": None, "größe": "日本"}
    assert client.Client(server.url + "/", key="a-key").predict(row) == GOOD
    [(path, headers, body)] = server.asked
    assert path == "/predict"
    assert body == {**row, "at": "2025-01-02T03:00:00+00:00"}
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Bearer a-key"


@pytest.mark.parametrize("status", [429, 503])
def test_who_is_busy_is_asked_again_when_it_says(
    status: int, client: Any, told: Callable[..., Told], slept: list[float]
) -> None:
    later = (status, {"Retry-After": "3"}, BUSY)
    server = told(later, (status, {}, b"busy"), (200, {}, GOOD))
    assert client.Client(server.url).predict({"only": 1}) == GOOD
    assert slept == [3.0, 2.0]  # what it says; else longer and longer


def test_retries_end(client: Any, told: Callable[..., Told], slept: list[float]) -> None:
    server = told((429, {"Retry-After": "1"}, BUSY))
    with pytest.raises(client.ServiceError, match=r"^too many requests at once$") as refused:
        client.Client(server.url, retries=1).predict({"only": 1})
    assert (refused.value.status, len(server.asked), slept) == (429, 2, [1.0])
    with pytest.raises(client.ServiceError):
        client.Client(server.url, retries=0).predict({"only": 1})
    assert slept == [1.0]


def test_nobody_waits_an_hour(client: Any, told: Callable[..., Told], slept: list[float]) -> None:
    server = told((503, {"Retry-After": "3600"}, BUSY))
    with pytest.raises(client.ServiceError):
        client.Client(server.url).predict({"only": 1})
    assert (len(server.asked), slept) == (1, [])


@pytest.mark.parametrize("asked", ["inf", "nan", "1e9", "Wed, 21 Oct 2065 07:28:00 GMT", ""])
def test_what_is_no_number_of_seconds_is_not_waited_for(
    asked: str, client: Any, told: Callable[..., Told], slept: list[float]
) -> None:
    server = told((503, {"Retry-After": asked}, BUSY), (200, {}, GOOD))
    client.Client(server.url).predict({"only": 1})
    assert slept == [1.0]


@pytest.mark.parametrize("status", [400, 401, 422, 500])
def test_other_errors_are_not_asked_again(
    status: int, client: Any, told: Callable[..., Told], slept: list[float]
) -> None:
    fields = [{"field": "only", "problem": "Field required"}]
    server = told((status, {}, {"error": "only: Field required", "fields": fields}))
    with pytest.raises(client.ServiceError, match=r"^only: Field required$") as refused:
        client.Client(server.url).predict({})
    assert refused.value.status == status
    assert refused.value.fields == {"only": "Field required"}
    assert (len(server.asked), slept) == (1, [])


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b"{}", b"", b"\xff", b'{"error": 1, "fields": 1}']
)
def test_an_error_of_something_in_between(
    body: bytes, client: Any, told: Callable[..., Told]
) -> None:
    server = told((502, {}, body))
    with pytest.raises(client.ServiceError, match=r"^the answer is 502 Bad Gateway$"):
        client.Client(server.url).predict({"only": 1})


def test_no_answer(client: Any, told: Callable[..., Told]) -> None:
    server = told((200, {}, b"<html>"))
    with pytest.raises(client.ServiceError, match="gives no answer") as failed:
        client.Client(server.url).predict({"only": 1})
    assert failed.value.status == 0
    server.shutdown()
    server.server_close()
    with pytest.raises(client.ServiceError, match=rf"^{server.url}/predict gives no answer: ."):
        client.Client(server.url).predict({"only": 1})
    server = told((200, {}, lambda _: threading.Event().wait(2)))
    with pytest.raises(client.ServiceError, match=r"gives no answer: .*timed out"):
        client.Client(server.url, timeout=0.2).predict({"only": 1})


def test_a_key_goes_nowhere_else(client: Any, told: Callable[..., Told]) -> None:
    other = told((200, {}, GOOD))
    for status in (301, 302, 303, 307, 308):
        server = told((status, {"Location": other.url + "/predict"}, b""))
        with pytest.raises(client.ServiceError, match=f"^the answer is {status}"):
            client.Client(server.url, key="a-key").predict({"only": 1})
    assert other.asked == []


def test_what_cannot_be_sent_is_said_before(client: Any, told: Callable[..., Told]) -> None:
    server = told((200, {}, GOOD))
    with pytest.raises(ValueError, match="NaN or infinite: give None"):
        client.Client(server.url).predict({"only": float("nan")})
    with pytest.raises(TypeError, match=r"^object: give int"):
        client.Client(server.url).predict({"only": object()})
    with pytest.raises(ValueError, match="must begin with http"):
        client.Client("file:///etc/passwd")
    assert server.asked == []


def echo(body: Any) -> list[dict[str, Any]]:
    return [{"prediction": row["only"]} for row in body["rows"]]


def test_a_batch_is_split_and_keeps_its_order(client: Any, told: Callable[..., Told]) -> None:
    server = told((200, {}, echo))
    asks = client.Client(server.url)
    answers = asks.predict_batch([{"only": k} for k in range(2500)])
    assert [answer["prediction"] for answer in answers] == list(range(2500))
    assert [len(body["rows"]) for _, _, body in server.asked] == [1000, 1000, 500]
    assert asks.predict_batch([]) == []
    assert asks.predict_batch(({"only": 4},)) == [{"prediction": 4}]
    assert len(server.asked) == 4


def test_what_is_too_large_is_sent_in_smaller_parts(client: Any, told: Callable[..., Told]) -> None:
    large: Reply = (413, {}, {"error": "the body has more than 1 bytes"})
    server = told(large, large, (200, {}, echo))
    answers = client.Client(server.url).predict_batch([{"only": k} for k in range(7)])
    assert [answer["prediction"] for answer in answers] == list(range(7))
    assert [len(body["rows"]) for _, _, body in server.asked] == [7, 4, 2, 2, 2, 1]
    with pytest.raises(client.ServiceError, match=r"^the body has more"):
        client.Client(told(large).url).predict_batch([{"only": k} for k in range(7)])


def test_a_wrong_row_is_named_by_its_place_in_the_whole_batch(
    client: Any, told: Callable[..., Told]
) -> None:
    fields = [{"field": f"rows.{k}.a.b", "problem": "bad"} for k in (4, 10)]
    wrong: Reply = (422, {}, {"error": "rows.4.a.b: bad and 1 more", "fields": fields})
    server = told((200, {}, echo), wrong)
    with pytest.raises(client.ServiceError) as refused:
        client.Client(server.url).predict_batch([{"only": k} for k in range(1500)])
    assert str(refused.value) == "rows.1004.a.b: bad and 1 more"
    assert refused.value.fields == {"rows.1004.a.b": "bad", "rows.1010.a.b": "bad"}


# --- towards the real one


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    return odd_project(shared(tmp_path_factory))


@pytest.fixture(scope="module")
def made(project: BakedProject) -> Any:
    from gatehouse.serving.client import make

    with contextlib.chdir(project.path):
        make(Project())
    return imported(project.path / "client/odd_names_client.py")


@pytest.fixture(scope="module")
def rows(project: BakedProject) -> list[dict[str, Any]]:
    """Golden rows as a program has them: dates are dates."""
    found: list[dict[str, Any]] = golden(project)["rows"]
    return [{**row, WHEN: datetime.fromisoformat(row[WHEN])} for row in found]


@pytest.fixture(scope="module")
def open_url(project: BakedProject) -> Iterator[str]:
    with served(project) as address:
        yield address


@pytest.mark.slow
def test_the_real_service_answers_as_offline(
    made: Any, project: BakedProject, rows: list[dict[str, Any]], open_url: str
) -> None:
    client, offline = made.Client(open_url), golden(project)
    answers = client.predict_batch(rows)
    assert client.predict(rows[3]) == answers[3]
    for answer, expected in zip(answers, offline["answers"], strict=True):
        assert answer["prediction"] == expected["prediction"]
        assert answer["prediction"] in get_args(made.Label)
        assert answer["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)
        assert answer["model_digest"] == offline["model_digest"]


@pytest.mark.slow
def test_2500_rows_of_the_real_service_keep_their_order(
    made: Any, rows: list[dict[str, Any]], open_url: str
) -> None:
    client = made.Client(open_url, timeout=60)
    one_by_one = [client.predict(row) for row in rows]
    answers = client.predict_batch([rows[k % len(rows)] for k in range(2500)])
    assert len(answers) == 2500
    assert len({str(answer) for answer in one_by_one}) > 10
    for k, answer in enumerate(answers):
        assert answer["probabilities"] == pytest.approx(
            one_by_one[k % len(rows)]["probabilities"], abs=1e-6
        )


@pytest.mark.slow
def test_the_real_service_names_what_is_wrong(
    made: Any, rows: list[dict[str, Any]], open_url: str
) -> None:
    client = made.Client(open_url)
    with pytest.raises(made.ServiceError) as refused:
        client.predict({**rows[0], MARKUP: "text", "no such column": 1})
    assert refused.value.status == 422
    assert set(refused.value.fields) == {MARKUP, "no such column"}
    assert str(refused.value).startswith(f"{MARKUP}: Input should be a valid number")
    batch = [*rows] * 60
    batch[1100] = {**rows[0], QUOTES: 1}
    with pytest.raises(made.ServiceError) as refused:
        client.predict_batch(batch)
    assert refused.value.fields == {f"rows.1100.{QUOTES}": "Input should be a valid string"}


@pytest.mark.slow
def test_the_real_service_gets_its_key(
    made: Any, project: BakedProject, rows: list[dict[str, Any]]
) -> None:
    with served(project, api_keys=f"name:{KEY}") as address:
        assert made.Client(address, key=KEY).predict(rows[0])["model_digest"]
        for key in (None, KEY[::-1]):
            with pytest.raises(made.ServiceError, match=r"^no valid key") as refused:
                made.Client(address, key=key).predict(rows[0])
            assert (refused.value.status, refused.value.fields) == (401, {})


@pytest.mark.slow
def test_the_real_service_is_asked_again_when_it_says(
    made: Any, project: BakedProject, rows: list[dict[str, Any]]
) -> None:
    with served(project, api_keys=f"name:{KEY}", rate="1") as address:
        patient = made.Client(address, key=KEY, retries=3)
        assert (
            len([patient.predict(row) for row in rows[:4]]) == 4
        )  # two at once, then one a second
        hasty = made.Client(address, key=KEY, retries=0)
        with pytest.raises(
            made.ServiceError, match=r"^too many requests with this key$"
        ) as refused:
            for row in rows[:4]:
                hasty.predict(row)
        assert refused.value.status == 429


def test_without_a_filled_schema_there_is_no_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatehouse.core.errors import Stop
    from gatehouse.serving.client import make

    small_project(tmp_path, "schema.yaml", "pyproject.toml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        Stop, match=r"schema\.yaml describes no columns yet: run `gatehouse schema`"
    ):
        make(Project())
    assert not (tmp_path / "client").exists()
