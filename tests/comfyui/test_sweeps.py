"""Strengths of a sweep."""

import runpy
from pathlib import Path
from typing import Any

import pytest

strengths: Any = runpy.run_path(str(Path(__file__).parents[2] / "packages/comfyui/sweeps.py"))["strengths"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0, 1, 5), (0.0, 0.25, 0.5, 0.75, 1.0)),
        ((-1, 1, 3), (-1.0, 0.0, 1.0)),
        ((0.1, 0.7, 7), (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)),
        ((1, 0, 2), (1.0, 0.0)),
        ((0, 0.8, 1), (0.8,)),
    ],
)
def test_strengths_are_even_and_end_at_the_last(arguments: tuple[float, float, int], expected: tuple[float]) -> None:
    assert strengths(*arguments) == expected
