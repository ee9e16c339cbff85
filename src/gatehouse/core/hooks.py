"""The user's own code: functions of ``data.py``, ``features.py`` and ``model.py`` in ``src/``."""

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import InputError
from .project import Project

SOURCE = Path("src")
CONFINED = "GATEHOUSE_CONFINED"
_added: list[str] = []


def confined() -> bool:
    """Whether the user's code is asked in a process that can do no harm: the judge says so."""
    return os.environ.get(CONFINED) == "1"


def hook(project: Project, module: str, function: str) -> Callable[..., Any] | None:
    """The user's ``function``, or None where her package has none.

    What it raises when it is called is an ``InputError`` that names its line, and only the kind of
    what was raised: the words may hold values of the data. Raises ``InputError`` where there are
    several packages, or the module cannot be imported.
    """
    package = own_package(project)
    if package is None or not (file := package / f"{module}.py").exists():
        return None
    if confined():
        from .confine import Confined

        words = str(project.root.resolve()), module, function
        asked = Confined("gatehouse.core.hooks:there", *words, sees=(project / SOURCE,))
        return asked if asked.found else None
    on_path(project)
    source = (project / SOURCE).absolute()
    try:
        imported = importlib.import_module(f"{package.name}.{module}")
    except Exception as error:  # it is her code: it may raise anything
        said = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
        raise InputError(
            "hook-import",
            f"{raised_at(error, str(file), source)}: it cannot be imported ({said}): correct it",
        ) from None
    if Path(imported.__file__ or "").resolve() != file.resolve():
        raise InputError(
            "package-name", f"{package} has the name of an installed package: rename it"
        )
    found = getattr(imported, function, None)
    if found is None:
        return None
    if not callable(found):
        raise InputError(
            "hook-no-function", f"{file}: {function} is no function: make it one, or rename it"
        )

    def own(*arguments: Any) -> Any:
        try:
            return found(*arguments)
        except InputError:
            raise
        except Exception as error:
            said = f"{function} ended with {type(error).__name__}"
            raise InputError(
                "hook-raised", f"{raised_at(error, str(file), source)}: {said}: correct it"
            ) from None

    return own


def there(root: str, module: str, function: str) -> Callable[..., Any] | None:
    """``hook`` in the confined process."""
    return hook(Project(Path(root)), module, function)


def own_package(project: Project) -> Path | None:
    """The one package in ``src/``; None where there is none."""
    found = sorted(file.parent for file in (project / SOURCE).glob("*/__init__.py"))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise InputError(
            "packages-several", f"{SOURCE}/ holds {len(found)} packages ({names}): keep one of them"
        )
    return found[0] if found else None


def on_path(project: Project) -> None:
    """Let the user's modules be imported, behind all that is installed.

    Those of another project that this process has seen are forgotten. Where her code is confined,
    nothing of it is.
    """
    source = str((project / SOURCE).absolute())
    if source in sys.path or confined():
        return
    for other in _added:
        sys.path.remove(other)
        for name, module in list(sys.modules.items()):
            if Path(getattr(module, "__file__", None) or "").is_relative_to(other):
                del sys.modules[name]
    _added[:] = [source]
    sys.path.append(source)
    importlib.invalidate_caches()


def raised_at(error: Exception, path: str, source: Path | None = None) -> str:
    """Where in the user's code it was raised: the file, and the innermost line of hers.

    Hers is the module ``path``, and what lies below ``source``, which is absolute.
    """
    if isinstance(error, SyntaxError) and error.lineno:
        return f"{path}, line {error.lineno}"
    found = path
    for frame in traceback.extract_tb(error.__traceback__):
        if source and Path(frame.filename).is_relative_to(source):
            found = f"{SOURCE / Path(frame.filename).relative_to(source)}, line {frame.lineno}"
        elif frame.filename == path:
            found = f"{path}, line {frame.lineno}"
    return found
