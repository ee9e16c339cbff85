"""What a test asks of an error: its code, and the values that its sentence must hold.

The wording stands in docs/errors.md and tests/core/words.txt, and is changed there.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gatehouse.core.errors import Stop


@contextmanager
def stops(code: str, *values: str) -> Iterator[pytest.ExceptionInfo[Stop]]:
    """The block ends with this error, which names these values."""
    with pytest.raises(Stop) as caught:
        yield caught
    assert caught.value.code == code, str(caught.value)
    assert [value for value in values if value not in str(caught.value)] == [], str(caught.value)
