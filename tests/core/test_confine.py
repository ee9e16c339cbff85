"""Code that nobody vouches for: what it can do in confinement, and what not."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from gatehouse.core import confine
from gatehouse.core.confine import Confined
from gatehouse.core.errors import InputError, Stop

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are Linux'")

# What a module of src/ may try, by name; each gives "done" where it was let.
PROBE = """
import os, socket, subprocess, threading, time
import pyarrow as pa

def thread():
    found = []
    one = threading.Thread(target=lambda: found.append("done"))
    one.start(), one.join()
    return found[0]

def numbers():
    import numpy as np
    return "done" if (np.ones((500, 500)) @ np.ones((500, 500))).sum() == 500**3 else ""

TRIES = {
    "connect": lambda: socket.create_connection(("127.0.0.1", 9), 1),
    "a socket of this machine": lambda: socket.socket(socket.AF_UNIX),
    "read a secret": lambda: open(SECRET).read(),
    "list home": lambda: os.listdir(os.path.expanduser("~root")),
    "read the judge": lambda: open(f"/proc/{os.getppid()}/environ").read(),
    "write": lambda: open(OWN + ".new", "w"),
    "write itself": lambda: open(OWN, "a").write("#"),
    "unlink": lambda: os.unlink(OWN),
    "write to memory": lambda: open("/dev/shm/probe", "w"),
    "start a program": lambda: subprocess.run(["/bin/true"], check=True),
    "become two": lambda: os.fork(),
    "signal the judge": lambda: os.kill(os.getppid(), 0),
    "much memory": lambda: bytearray(1 << 31),
}
MAY = {"thread": thread, "numbers": numbers, "environment": lambda: ",".join(sorted(os.environ))}

def load(own, secret):
    global OWN, SECRET
    OWN, SECRET = own, secret
    def ask(what):
        if what == "end":
            os._exit(3)
        if what == "wait":
            time.sleep(60)
        if what == "raise":
            raise ValueError("a value of the data")
        if what == "no table":
            return {}
        if what in MAY:
            return pa.table({"said": [MAY[what]()]})
        try:
            TRIES[what]()
        except (OSError, MemoryError) as error:
            return pa.table({"said": [type(error).__name__]})
        return pa.table({"said": ["done"]})
    return ask

def none():
    return None

def broken():
    raise RuntimeError
"""


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Confined]:
    folder = tmp_path_factory.mktemp("own")
    secret = tmp_path_factory.mktemp("other") / "secret"
    secret.write_text("token")
    yield _asked(folder, "load", str(folder / "probe.py"), str(secret))


def _asked(folder: Path, function: str, *words: str) -> Confined:
    (folder / "probe.py").write_text(PROBE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            confine, "START", f"import sys; sys.path.append({str(folder)!r}); {confine.START}"
        )
        patch.setattr(confine, "MEMORY", 1 << 30)
        patch.setenv("SECRET_TOKEN", "x")
        return Confined(f"probe:{function}", *words, sees=(folder,))


NOT_LET = (
    *("connect", "a socket of this machine", "read a secret", "list home", "read the judge"),
    *("write", "write itself", "unlink", "write to memory", "start a program", "become two"),
    *("signal the judge",),
)


@pytest.mark.parametrize("what", NOT_LET)
def test_attack_own_code_reaches_out_of_its_process(probe: Confined, what: str) -> None:
    """ATTACK: `prepare`, `derive` or an own estimator reads secrets, writes, connects, starts programs | the judge asks own code in a process that can only compute (Landlock, seccomp)"""
    assert probe(what)["said"].to_pylist() == ["PermissionError"]


def test_it_computes_in_threads(probe: Confined) -> None:
    assert probe("thread")["said"].to_pylist() == ["done"]
    assert probe("numbers")["said"].to_pylist() == ["done"]


def test_it_sees_no_variable_of_the_judge(probe: Confined) -> None:
    assert set(probe("environment")["said"][0].as_py().split(",")) <= {*confine.KEPT, "LC_CTYPE"}


def test_what_it_raises_is_told_without_its_words(probe: Confined) -> None:
    for what in ("raise", "no table"):
        with pytest.raises(InputError) as said:
            probe(what)
        assert said.value.code == "confined-raised"
        assert "value of the data" not in str(said.value)
    assert probe("thread")["said"].to_pylist() == ["done"]


def test_memory_is_bounded(probe: Confined) -> None:
    assert probe("much memory")["said"].to_pylist() == ["MemoryError"]


def test_one_that_ends_is_told(tmp_path: Path) -> None:
    probe = _asked(tmp_path, "load", "", "")
    with pytest.raises(InputError) as said:
        probe("end")
    assert said.value.code == "confined-ended"


def test_one_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = _asked(tmp_path, "load", "", "")
    monkeypatch.setattr(confine, "SECONDS", 0.2)
    with pytest.raises(InputError) as said:
        probe("wait")
    assert said.value.code == "confined-ended"


def test_one_that_is_not_there(tmp_path: Path) -> None:
    assert _asked(tmp_path, "none").found is False
    with pytest.raises(InputError):
        _asked(tmp_path, "broken")


def test_an_answer_is_arrow_and_nothing_else() -> None:
    """ATTACK: own code answers the judge with a pickle | an answer is only ever read as Arrow"""
    import io
    import os
    import pickle
    import struct

    class Bad:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("touch owned",)

    said = pickle.dumps(Bad())
    one = Confined.__new__(Confined)
    import threading

    class Child:
        stdin, stdout = io.BytesIO(), io.BytesIO(b"T" + struct.pack("<Q", len(said)) + said)

        def kill(self) -> None: ...
        def wait(self) -> None: ...

    one._child, one._lock = Child(), threading.Lock()  # type: ignore[assignment]
    with pytest.raises(InputError) as error:
        one(1)
    assert error.value.code == "confined-ended"
    assert not Path("owned").exists()


def test_where_the_kernel_cannot_nothing_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(Stop) as said:
        Confined("probe:load")
    assert (said.value.code, said.value.exit_code) == ("confinement-missing", 3)


def test_a_table_goes_there_and_back(tmp_path: Path) -> None:
    (tmp_path / "probe.py").write_text("def load():\n    return lambda table: table\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            confine, "START", f"import sys; sys.path.append({str(tmp_path)!r}); {confine.START}"
        )
        ask = Confined("probe:load", sees=(tmp_path,))
    table = pa.table({"text": ["a", None], "number": [1.5, None]})
    assert ask(table).equals(table)
