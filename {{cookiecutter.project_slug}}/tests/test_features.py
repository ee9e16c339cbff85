import numpy as np

from {{ cookiecutter.package_name }}.features import derive

ROWS = {"price": np.array([90.0, np.nan, 240.0]), "nights": np.array([1.0, 2.0, 3.0])}


def test_every_row_gets_a_value() -> None:
    assert all(len(values) == 3 for values in derive(ROWS).values())


def test_a_row_is_answered_alone() -> None:
    """What a row gets must not depend on the rows beside it: a request brings one."""
    together = derive(ROWS)
    for row in range(3):
        alone = derive({name: values[row : row + 1] for name, values in ROWS.items()})
        for name, values in alone.items():
            np.testing.assert_array_equal(values, together[name][row : row + 1])
