"""Curves that are known, and the scaled direction against the editors' own."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from latentedit.directions.hsds import HSDS
from latentedit.editors.baselines.inversion import AlignedInversion
from latentedit.editors.eim import EIM
from latentedit_bench.experiments.decisions import gradual, straight
from latentedit_bench.experiments.linear_strength import Scaled
from tests.bench.rendered_network import prepared

STRENGTHS = np.array([0.25, 0.5, 0.75, 1.0])
NAN = math.nan


@pytest.mark.parametrize(
    ("effects", "smooth", "line"),
    [
        (0.7 * STRENGTHS, 1, 1),
        (STRENGTHS**2, 0, 0.75),  # the last step makes .4375; the furthest point is at one half
        (np.ones(4), 0, 0.25),
        (-2 * STRENGTHS, NAN, 1),
        (0.01 * STRENGTHS, NAN, NAN),
        (np.array([0.1, 0.4, 0.7, 0.8]), 1, 0.875),
        (np.array([0.1, 0.2, 0.7, 0.9]), 0, 1 - 0.25 / 0.9),
        (np.array([0.3, 0.6, 0.55, 0.9]), 0, 1 - 0.15 / 0.9),
        (np.array([0.3, 0.6, 0.599, 0.9]), 1, 1 - 0.15 / 0.9),  # a fall that rounding explains
    ],
)
def test_known_curves(effects: np.ndarray, smooth: float, line: float) -> None:
    """In any order of the rows."""
    rows = pd.DataFrame({"strength": STRENGTHS, "effect": effects}).iloc[[2, 0, 3, 1]]
    assert gradual(rows) == pytest.approx(smooth, nan_ok=True)
    assert straight(rows) == pytest.approx(line, nan_ok=True)


def test_the_text_arm_scaled_is_the_aligned_inversion() -> None:
    """Both go up under the source text and return under ``c0 + strength n``."""
    batch = prepared(2, reads=False)
    scaled, other = Scaled(arm="text", level=0.8, steps=5), AlignedInversion(level=0.8, steps=5)
    for strength in (0.3, 1.0):
        ours, theirs = (one.edit(batch.latent, batch.target, [strength])[0].z for one in (scaled, other))
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("arm", ["image", "text", "joint"])
def test_at_strength_one_it_is_the_editor_and_costs_what_it_says(arm: str) -> None:
    batch = prepared(2, reads=False)
    editor = EIM.from_dict({"arm": arm, "steps": 4, "search": HSDS(steps=2)})
    scaled = Scaled.from_dict(editor.to_dict())
    ours, theirs = (one.edit(batch.latent, batch.target, [1.0], seed=3)[0].z for one in (scaled, editor))
    torch.testing.assert_close(ours, theirs)
    with batch.latent.backbone.count() as cost:
        half = scaled.edit(batch.latent, batch.target, [0.5], seed=3)[0].z
    assert cost.evaluations == 2 * scaled.evaluations(batch.latent, strength=0.5)
    assert Scaled.from_dict(scaled.to_dict()) == scaled
    if arm == "image":
        torch.testing.assert_close(half - batch.latent.z, (ours - batch.latent.z) / 2)
