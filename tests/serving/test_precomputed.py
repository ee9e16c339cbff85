"""Predictions of a batch, looked up by the service: the same answers, and a file that may change."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from projects import small_project
from scored import Score, blessed_models, digest, rows, scorer, settle
from serving import CLASSES, Client, bless, fitted

Make = Callable[..., Client]
KEY = "0123456789abcdef"
FILE = "made.db"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    project = small_project(tmp_path_factory.mktemp("project"))
    return blessed_models(project.path, tmp_path_factory)


@pytest.fixture
def score() -> Score:
    return scorer()


@pytest.fixture
def client() -> Make:
    """The application over the model and predictions in this folder."""

    def make(**settings: Any) -> Client:
        from gatehouse.serving import predictor
        from gatehouse.serving.app import App
        from gatehouse.serving.settings import read_settings

        given = {f"SERVICE_{name.upper()}": str(value) for name, value in settings.items()}
        return Client(App(predictor.load(Path()), read_settings(given), 0.0))

    return make


@pytest.fixture(scope="module")
def predicted(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a binary model and its predictions of 500 rows, to be copied."""
    with pytest.MonkeyPatch.context() as patch:
        folder = settle(models["binary"], tmp_path_factory.mktemp("predicted") / "here", patch)
        assert scorer()(key="house") == 0
    return folder


@pytest.fixture
def made(predicted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return settle(predicted, tmp_path / "here", monkeypatch)


@pytest.mark.parametrize("task", CLASSES)
def test_what_was_computed_before_is_what_would_be_answered_now(
    task: str, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    score: Score, client: Make,
) -> None:  # fmt: skip
    settle(models[task], tmp_path / "here", monkeypatch)
    assert score(key="house") == 0
    app = client(precomputed=FILE)
    from test_service import plain

    for row in rows()[:20].to_dict("records"):
        key = row.pop("house")
        before, now = app.get(f"/predictions/{key}"), app.post("/predict", plain(row)).json()
        assert before.status == 200
        said = before.json()
        assert before.headers["x-model-digest"] == said["model_digest"] == digest()
        assert said["key"] == key
        assert said["predicted_at"].startswith("20")
        assert said["predicted_at"].endswith("Z")
        if task == "regression":
            assert said["prediction"] == pytest.approx(now["prediction"], abs=1e-5)
        else:
            assert said["prediction"] == now["prediction"]
            assert said["probabilities"] == pytest.approx(now["probabilities"], abs=1e-5)


@pytest.mark.parametrize("key", ["nobody", "", "h1/", "x" * 300, "h1' OR '1'='1", "\ud800", "h\0"])
def test_an_unknown_key_is_not_found(made: Path, client: Make, key: str) -> None:
    app = client(precomputed=FILE)
    found = app.get(f"/predictions/{key}")
    assert found.status == 404
    assert found.json() == {"error": "there is no prediction for this key"}
    assert app.get("/predictions/h1").status == 200


def test_where_it_is_not_set_there_is_no_such_page(made: Path, client: Make) -> None:
    app = client()
    assert app.get("/predictions/h1").json() == {"error": "there is no such page"}
    assert "/predictions/{key}" not in app.get("/docs.json").json()["paths"]


def test_it_is_on_the_page_for_programs_and_one_route_in_the_counts(
    made: Path, client: Make
) -> None:
    app = client(precomputed=FILE)
    for k in range(20):
        app.get(f"/predictions/h{k}")
        app.get(f"/predictions/no{k}")
    assert app.get("/predictions/h1", method="POST").status == 405
    text = app.get("/metrics").body.decode()
    assert 'service_requests_total{route="/predictions/",status="200"} 20.0' in text
    assert 'service_requests_total{route="/predictions/",status="404"} 20.0' in text
    assert "no1" not in text
    look_up = app.get("/docs.json").json()["paths"]["/predictions/{key}"]["get"]
    assert set(look_up["responses"]) == {"200", "401", "404", "429", "503"}


def test_keys_are_asked_for_as_anywhere(made: Path, client: Make) -> None:
    app = client(precomputed=FILE, api_keys=f"jo:{KEY}")
    assert app.get("/predictions/h1").status == 401
    assert app.get("/predictions/h1", x_api_key=KEY).status == 200


def test_another_file_in_its_place_is_noticed(
    made: Path,
    client: Make,
    score: Score,
) -> None:
    app = client(precomputed=FILE)
    before = app.get("/predictions/h7").json()
    rows().assign(**{"size €": 3.9}).to_parquet("next.parquet")
    assert score("next.parquet", key="house") == 0
    after = app.get("/predictions/h7").json()
    assert after["run"] != before["run"]
    assert after["probabilities"] != before["probabilities"]
    # Another model scores: the answer tells which one, and the service stays ready.
    from sklearn.ensemble import HistGradientBoostingClassifier

    bless(Path(), "binary", model=fitted("binary", HistGradientBoostingClassifier(max_iter=3)))
    served = before["model_digest"]
    assert score(key="house") == 0
    other = app.get("/predictions/h7")
    assert other.headers["x-model-digest"] == digest() != served
    assert app.get("/readyz").status == 200


def test_a_file_that_is_broken_or_taken_away_changes_nothing(
    made: Path, client: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    app = client(precomputed=FILE)
    before = app.get("/predictions/h1").json()
    Path("broken").write_text("no database, but long enough to be looked at as one" * 100)
    Path("broken").replace(FILE)
    assert app.get("/predictions/h1").json() == before
    assert app.get("/predictions/h2").status == 200
    said = capsys.readouterr().err
    assert said.count("made.db is new, and cannot be read") == 1
    Path(FILE).unlink()
    assert app.get("/predictions/h3").status == 200


def test_while_somebody_writes_into_the_file_itself_it_asks_to_come_back(
    made: Path, client: Make
) -> None:
    app = client(precomputed=FILE)
    with closing(sqlite3.connect(FILE, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        found = app.get("/predictions/h1")
        assert found.status == 503
        assert found.headers["retry-after"] == "2"
        writer.execute("ROLLBACK")
    assert app.get("/predictions/h1").status == 200


def test_nothing_can_be_written_through_it(made: Path, client: Make) -> None:
    app = client(precomputed=FILE)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        app.app._precomputed._open.execute("DELETE FROM predictions")


def test_what_is_kept_is_bounded(made: Path, client: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from gatehouse.serving import precomputed

    monkeypatch.setattr(precomputed, "MOST", 10)
    app = client(precomputed=FILE)
    for k in range(100):
        assert app.get(f"/predictions/h{k}").status == 200
    assert len(app.app._precomputed._kept) == 10


def change_nothing() -> None:
    pass


def drop_column() -> None:
    with closing(sqlite3.connect(FILE)) as database, database:
        database.execute('ALTER TABLE predictions DROP COLUMN "probability true"')


def spoil() -> None:
    Path(FILE).write_text("no database" * 1000)


@pytest.mark.parametrize(
    ("change", "settings"),
    [
        (lambda: Path(FILE).unlink(), {}),
        (spoil, {}),
        (drop_column, {}),
        (change_nothing, {"precomputed_table": "others"}),
    ],
)
def test_it_does_not_start_with_a_file_that_is_none(
    made: Path, client: Make, change: Callable[[], None], settings: dict[str, str]
) -> None:
    from gatehouse.core.errors import InputError

    change()
    with pytest.raises(InputError, match=r"SERVICE_PRECOMPUTED names made\.db"):
        client(precomputed=FILE, **settings)
