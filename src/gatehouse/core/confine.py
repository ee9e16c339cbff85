"""Code that nobody here vouches for, in a process that can do nothing but answer.

The judge (``hooks.confined``) asks the user's ``prepare`` and ``derive``, and a model of types of
her own, through ``Confined``: a child that sees the interpreter, the library and her modules, and
nothing else; that writes no file, opens no socket, starts no program, signals nobody, and whose
memory and time are bounded. What it answers is an Arrow table, never an object. Landlock and
seccomp of Linux do it, which take no rights and no package; where they are not, nothing is asked
(``Stop`` 3).

What goes in is pickled, for it comes from the judge; what comes out is only ever read as Arrow.
"""

import ctypes
import os
import pickle
import platform
import resource
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from .errors import INFRASTRUCTURE, InputError, Stop

LIBRARY = Path(__file__).resolve().parents[2]
MEMORY, SECONDS, MOST = 8 << 30, 1800, 4 << 30  # bytes of data, of an answer
START = (
    "import sys; sys.path.append(sys.argv[1]); from gatehouse.core.confine import child; child()"
)
KEPT = ("LANG", "LC_ALL", "TZ", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED")
SEEN = (
    *("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/urandom"),
    *("/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system/cpu"),
)


class Confined:
    """A function of somebody else: ``load`` (module:function of the library) finds it there.

    ``load(*words)`` is called in the child, once it can do no harm, and returns a function that
    gives an Arrow table. Calls wait for each other. Raises ``InputError`` with the sentence that
    it raised, or for a child that ended, and ``Stop`` (3) where nothing confines.
    """

    def __init__(self, load: str, *words: Any, sees: tuple[Path, ...] = ()) -> None:
        if sys.platform != "linux":
            raise _missing()
        environment = {k: v for k, v in os.environ.items() if k in KEPT}
        command = [sys.executable, "-I", "-c", START, str(LIBRARY)]
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it may say what rows hold
            env=environment,
            cwd="/",
        )
        self._lock = threading.Lock()
        self.found = True  # whether there is such a function
        self._tell((load, words, [str(path.resolve()) for path in sees], MEMORY))

    def __call__(self, *arguments: Any) -> Any:
        """What it answers: a ``pyarrow.Table``, checked in full."""
        with self._lock:
            return self._tell(arguments)

    def _tell(self, message: Any) -> Any:
        import pyarrow as pa

        watch = threading.Timer(SECONDS, self._child.kill)
        watch.start()
        try:
            assert self._child.stdin
            assert self._child.stdout
            _send(self._child.stdin, b"A", pickle.dumps(message))
            kind, said = _take(self._child.stdout)
        except (OSError, EOFError, ValueError):
            self._child.kill()
            raise InputError(
                "confined-ended",
                f"code of src/ ended its process, or took more than {MEMORY >> 30} GiB or "
                f"{SECONDS // 60} minutes: let it write nothing and ask nobody",
            ) from None
        finally:
            watch.cancel()
        if kind == b"M":
            raise _missing()
        self.found = kind != b"N"
        if kind == b"E":
            words = "".join(c for c in said.decode(errors="replace")[:300] if c.isprintable())
            raise InputError("confined-raised", words)
        try:
            table = pa.ipc.open_stream(said).read_all() if said else None
            if table is not None:
                table.validate(full=True)
        except (pa.ArrowInvalid, OSError):
            raise InputError("confined-ended", "code of src/ answers with no table") from None
        return table

    def __del__(self) -> None:
        if child := getattr(self, "_child", None):
            child.kill()
            child.wait()


def _missing() -> Stop:
    return Stop(
        "confinement-missing",
        "code of src/ is asked in a process that can do no harm, which this system cannot give "
        "(it wants Linux 5.19 or later with Landlock): judge on another",
        INFRASTRUCTURE,
    )


def child() -> None:
    """What runs in the process: load once, answer until the judge goes."""
    take, give = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what it prints is no answer
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    _, message = _take(take)
    load, words, sees, memory = pickle.loads(message)
    module, _, function = load.partition(":")
    loader: Callable[..., Callable[..., Any]] = getattr(
        __import__(module, fromlist=[function]), function
    )
    try:
        confine([sys.prefix, sys.base_prefix, str(LIBRARY), *sees, *SEEN], memory)
    except OSError:
        _send(give, b"M", b"")
        return
    answer: Callable[..., Any] | None = None
    while True:
        try:
            if answer is None:
                answer = loader(*words)
                _send(give, b"N" if answer is None else b"T", b"")
                if answer is None:
                    return
            else:
                _send(give, b"T", _packed(answer(*pickle.loads(_take(take)[1]))))
        except EOFError:
            return
        except InputError as error:
            _send(give, b"E", str(error).encode())
            if answer is None:
                return
        except Exception as error:  # its words may hold values of the data
            _send(give, b"E", f"code of src/ raised {type(error).__name__}".encode())
            if answer is None:
                return


def _packed(table: Any) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _send(to: IO[bytes], kind: bytes, content: bytes) -> None:
    to.write(kind + struct.pack("<Q", len(content)))
    to.write(content)
    to.flush()


def _take(source: IO[bytes]) -> tuple[bytes, bytes]:
    head = source.read(9)
    if len(head) < 9:
        raise EOFError
    [size] = struct.unpack("<Q", head[1:])
    if size > MOST:
        raise ValueError
    content = source.read(size)
    if len(content) < size:
        raise EOFError
    return head[:1], content


# Numbers of the kernel, by machine. Denied: sockets, other programs and processes, and the ways
# around those; a thread is allowed, a process is not.
_DENIED = {
    "x86_64": (
        *(41, 42, 53, 57, 58, 59, 322, 62, 101, 310, 311, 425, 424, 434, 438, 321, 298),
        *(272, 308, 165, 248, 249, 250, 323, 304),
    ),
    "aarch64": (
        *(198, 199, 203, 221, 281, 129, 117, 270, 271, 425, 424, 434, 438, 280, 241),
        *(97, 268, 40, 217, 218, 219, 282, 265),
    ),
}
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3, _CLONE_THREAD, _X32 = 435, 0x00010000, 0x40000000
_EPERM, _ENOSYS = 1, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT = 444, 445, 446
_READ, _EXECUTE, _LIST = 1 << 2, 1 << 0, 1 << 3
_NO_NEW_PRIVILEGES, _SECCOMP = 38, 22


def confine(sees: list[str], memory: int) -> None:
    """Take all rights from this process but to compute, in ``memory`` bytes, and to read ``sees``.

    For good, and for all that it starts. Raises ``OSError`` where the kernel cannot.
    """
    machine = platform.machine()
    if machine not in _ARCH:
        raise OSError
    libc = ctypes.CDLL(None, use_errno=True)
    _called(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _files(libc, sees)
    _calls(libc, machine)
    for what, most in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, 4 * SECONDS),
    ):
        resource.setrlimit(what, (most, most))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def _called(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused by the kernel")
    return result


def _files(libc: Any, sees: list[str]) -> None:
    """Landlock: nothing is read but below ``sees``, nothing is written."""
    version = _called(libc.syscall(_CREATE_RULESET, None, 0, 1))
    handled = (1 << (16 if version >= 5 else 15 if version >= 3 else 14)) - 1
    about = struct.pack("<QQQ", handled, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8  # what each of them reads of it
    rules = _called(libc.syscall(_CREATE_RULESET, about, size, 0))
    for path in dict.fromkeys(sees):
        if not Path(path).exists():
            continue
        allowed = _READ | _EXECUTE | (_LIST if Path(path).is_dir() else 0)
        there = os.open(path, os.O_PATH | os.O_CLOEXEC)
        _called(libc.syscall(_ADD_RULE, rules, 1, struct.pack("<Qi", allowed, there), 0))
        os.close(there)
    _called(libc.syscall(_RESTRICT, rules, 0))
    os.close(rules)


def _calls(libc: Any, machine: str) -> None:
    """seccomp: a filter over the numbers of the kernel's calls."""
    load, equal, greater, bits, give = 0x20, 0x15, 0x35, 0x45, 0x06
    refused, unknown, allowed = 0x00050000 | _EPERM, 0x00050000 | _ENOSYS, 0x7FFF0000
    lines = [(load, 0, 0, 4), (equal, 1, 0, _ARCH[machine]), (give, 0, 0, refused)]
    lines += [(load, 0, 0, 0), (greater, 0, 1, _X32), (give, 0, 0, refused)]
    lines += [(equal, 0, 1, _CLONE3), (give, 0, 0, unknown)]
    for number in _DENIED[machine]:
        lines += [(equal, 0, 1, number), (give, 0, 0, refused)]
    lines += [(equal, 0, 3, _CLONE[machine]), (load, 0, 0, 16)]
    lines += [(bits, 1, 0, _CLONE_THREAD), (give, 0, 0, refused), (give, 0, 0, allowed)]
    code = b"".join(struct.pack("<HBBI", *line) for line in lines)
    kept = ctypes.create_string_buffer(code)
    program = struct.pack("<HxxxxxxQ", len(lines), ctypes.addressof(kept))
    _called(libc.prctl(_SECCOMP, 2, program, 0, 0))
