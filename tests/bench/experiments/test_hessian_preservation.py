"""Changes outside that are known."""

import pandas as pd
import pytest

from latentedit_bench.experiments.hessian_preservation import outside


def test_the_change_outside_is_an_energy() -> None:
    """A quarter of a change of energy .5^2 + .5^2; nothing where nothing changed; at most the whole wanted change."""
    table = pd.DataFrame({"outside": [0.25, None, 0.9], "effect": [0.5, 0.0, 1.0], "leakage": [0.5, 0.0, 1.0]})
    found = outside(table.assign(error=[0.3, 1.7, 0.1]))
    assert list(found["change outside"]) == pytest.approx([0.125, 0.0, 1.0])
    assert list(found["at equal effect"]) == pytest.approx([0.5, 0.0, 1.0])
    assert list(found["error"]) == [0.3, 1.0, 0.1]
