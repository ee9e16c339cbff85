"""Databases: which text is the address of one, and a connection whose faults are sentences."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatehouse.core import places
from gatehouse.core.errors import BROKEN, INFRASTRUCTURE, Stop

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection


def database(text: str) -> "URL | None":
    """The URL of a database; None for a path and for the URL of a file."""
    if "://" not in text:
        return None
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text)
        url.get_dialect()
    except ArgumentError:  # no URL of a database, or of one that is not known
        return None
    return url


def shown(text: str) -> str:
    """A source or a place as people may read it: without passwords."""
    address, mark, query = text.partition("#")
    url = database(address)
    if url is not None:
        return f"{url.render_as_string(hide_password=True)}{mark}{query}"
    return places.shown(text)


def sqlite_file(url: "URL") -> Path | None:
    """The file of an SQLite database; None for other databases."""
    if url.get_backend_name() != "sqlite":
        return None
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise Stop(
            "database-url", "an SQLite database must be a file: write sqlite:///predictions.db"
        )
    return Path(url.database)


def refuse_no_file(url: "URL") -> None:
    """SQLite would make an empty database of a file that is not there."""
    file = sqlite_file(url)
    if file is not None and not file.is_file():
        raise Stop("place-missing", f"{file} is not there: correct the URL of the database")


@contextmanager
def connected(url: "URL", *, write: bool) -> Iterator["Connection"]:
    """A connection in one transaction, which only a good end commits.

    An SQLite file is written as a copy that takes its place at the end, so that nobody who reads it
    meanwhile waits or sees a part.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

    where, file = url.render_as_string(hide_password=True), sqlite_file(url)
    try:
        if write and file is not None:
            with _copied(file) as draft:
                engine = create_engine(url.set(database=str(draft)))
                with _ending(engine), engine.begin() as connection:
                    yield connection
            return
        engine = create_engine(url)
        with _ending(engine), engine.begin() as connection:
            yield connection
    except ImportError as error:
        fix = f"install the driver {error.name!r} into .venv"
        raise Stop("place-no-driver", f"{where} needs a driver that is not here: {fix}") from None
    except DBAPIError as error:
        # Its first line; what follows are statement and values.
        reason = " ".join(str(error.orig).splitlines()[:1])
        exit_code = INFRASTRUCTURE if isinstance(error, OperationalError) else BROKEN
        raise Stop(
            "database-refuses",
            f"{where} refused ({reason}): correct that, and run again",
            exit_code,
        ) from None
    except SQLAlchemyError as error:
        reason = " ".join(str(error).splitlines()[:1])
        raise Stop(
            "database-url", f"{where} cannot be used ({reason}): correct the URL or names"
        ) from None
    except sqlite3.Error as error:
        raise Stop(
            "database-damaged", f"{where} is no SQLite database ({error}): give another file"
        ) from None


@contextmanager
def _ending(engine: Any) -> Iterator[None]:
    """Close every connection of an engine at the end."""
    try:
        yield
    finally:
        engine.dispose()


@contextmanager
def _copied(file: Path) -> Iterator[Path]:
    """A copy beside ``file`` that takes its place, unless somebody else wrote meanwhile."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    os.close(handle)
    draft, before = Path(name), _state(file)
    try:
        if before:
            with closing(sqlite3.connect(file)) as old, closing(sqlite3.connect(draft)) as new:
                old.backup(new)
        yield draft
        if _state(file) != before:
            raise Stop(
                "written-meanwhile",
                f"somebody else wrote {file} meanwhile: run the same again",
                INFRASTRUCTURE,
            )
        draft.chmod(0o644)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def _state(file: Path) -> tuple[int, int, int] | None:
    try:
        about = file.stat()
    except FileNotFoundError:
        return None
    return about.st_ino, about.st_mtime_ns, about.st_size
