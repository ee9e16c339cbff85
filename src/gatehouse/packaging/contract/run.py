"""Run the tests of the contract against a service; verb ``contract``."""

import subprocess
from pathlib import Path

from gatehouse.core.console import say
from gatehouse.core.errors import CLOSED, GOOD
from gatehouse.gates.model_tests import ALONE, unsteered

TESTS = Path(__file__).with_name("test_service.py")


def contract(service: str = "") -> int:
    """Start a service and hold it against golden requests and its page; exit 1 if it breaks them.

    ``service`` is an address (http://…) or the tag of a Bento; without it ``gatehouse.serving``
    answers, from the serve environment.
    """
    done = against(service)
    broken = done.returncode != 0
    say(f"contract: {'BROKEN' if broken else 'kept'}")
    return CLOSED if broken else GOOD


def against(service: str, *, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    """What pytest ends with, and what it says if ``quiet``."""
    return subprocess.run(
        [*ALONE, "--no-header", str(TESTS)],
        env=unsteered() | {"SERVICE": service, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=quiet,
        text=True,
        errors="replace",
        check=False,
    )
