"""Each error has a code of its kind; the page of errors lists them, so that none goes unseen."""

import error_page
import pytest

from gatehouse.core.errors import BROKEN, CLOSED, InputError, Stop


def test_every_error_is_raised_with_a_code() -> None:
    found = error_page.raised()
    assert len(found) > 250
    assert [where for code, sites in found.items() for where in sites if not code] == []


def test_the_page_lists_them() -> None:
    assert error_page.page() == error_page.PAGE.read_text("utf-8"), "run scripts/error_page.py"


def test_the_wording_is_as_it_was_seen_last() -> None:
    seen = error_page.WORDS.read_text("utf-8")
    assert error_page.words() == seen, "read what changed, then run scripts/error_page.py"


def test_an_error_says_who_what_and_which() -> None:
    stop = Stop("model-not-blessed", "the candidate is not blessed: `make gate` says why", CLOSED)
    assert (stop.code, stop.exit_code) == ("model-not-blessed", 1)
    line = "promote: the candidate is not blessed: `make gate` says why [model-not-blessed]"
    assert stop.told("promote") == line
    assert InputError("not-utf8", "a.csv is not UTF-8 text").exit_code == BROKEN
    with pytest.raises(TypeError):
        Stop("only one word")  # type: ignore[call-arg]
