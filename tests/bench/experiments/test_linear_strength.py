"""Straightness of curves that are known, the scaled direction against the editors' own, and the whole way."""

import numpy as np
import pandas as pd
import pytest
import torch

from latentedit.directions.hsds import HSDS
from latentedit.editors.baselines.inversion import AlignedInversion
from latentedit.editors.eim import EIM
from latentedit_bench.experiments.linear_strength import (
    IMAGE_SLIDER,
    JOINT,
    JOINT_SLIDER,
    TEXT,
    LinearStrength,
    Scaled,
    straightness,
)
from tests.bench.rendered_network import constructed, prepared

STRENGTHS = np.array([0.25, 0.5, 0.75, 1.0])


def test_straightness_of_known_curves() -> None:
    """A line of any slope; a square, whose furthest point is at one half; a switch that is on at once; nothing."""
    curves = np.stack([0.7 * STRENGTHS, STRENGTHS**2, np.ones(4), -2 * STRENGTHS, 0.01 * STRENGTHS])
    assert straightness(curves, STRENGTHS) == pytest.approx([1.0, 0.75, 0.25, 1.0, np.nan], nan_ok=True)


def test_the_text_arm_scaled_is_the_aligned_inversion() -> None:
    """Both go up under the source text and return under ``c0 + strength n``."""
    batch = prepared(2, reads=False)
    scaled = Scaled(of=EIM(arm="text", level=0.8, steps=5))
    other = AlignedInversion(level=0.8, steps=5)
    for strength in (0.3, 1.0):
        ours, theirs = (one.edit(batch.latent, batch.target, [strength])[0].z for one in (scaled, other))
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("arm", ["image", "text", "joint"])
def test_at_strength_one_it_is_the_editor(arm: str) -> None:
    batch = prepared(2, reads=False)
    editor = EIM.from_dict({"arm": arm, "steps": 4, "search": HSDS(steps=2)})
    scaled = Scaled(of=editor)
    ours, theirs = (one.edit(batch.latent, batch.target, [1.0], seed=3)[0].z for one in (scaled, editor))
    torch.testing.assert_close(ours, theirs)
    with batch.latent.backbone.count() as cost:
        half = scaled.edit(batch.latent, batch.target, [0.5], seed=3)[0].z
    assert cost.evaluations == 2 * scaled.evaluations(batch.latent, strength=0.5)
    assert Scaled.from_dict(scaled.to_dict()) == scaled
    if arm == "image":
        torch.testing.assert_close(half - batch.latent.z, (ours - batch.latent.z) / 2)


def test_what_eight_items_say() -> None:
    """The text arm acts as the square of the strength, the joint arm falls back, the sliders are straight."""
    curves = {
        TEXT: [(s, s * s) for s in STRENGTHS],
        JOINT: [(0.25, 0.5), (0.5, 0.4), (0.75, 0.75), (1.0, 1.0)],
        IMAGE_SLIDER: [(s, 0.8 * s) for s in STRENGTHS],
        JOINT_SLIDER: [(s, 0.8 * s) for s in STRENGTHS],
    }
    paths = {n: {f"i{i}": [(s, e, 0.0) for s, e in points] for i in range(8)} for n, points in curves.items()}
    table = pd.DataFrame(constructed(paths, model="portraits"))
    table = table.assign(**{"tv a": np.sqrt(table["strength"]), "tv b": 0.0, "true tv a": 1.0, "true tv b": 0.2})
    found = LinearStrength().conclude(table)
    numbers = {claim.measure: (round(claim.estimate, 6), claim.verdict) for claim in found.claims}
    assert found.claims[0].measure == f"effect, {TEXT}, less 0.9"
    assert numbers[f"effect, {TEXT}, less 0.9"] == (-0.15, "does not hold")
    assert numbers[f"effect, {IMAGE_SLIDER}, less 0.9"] == (0.1, "holds")
    assert numbers[f"what the reader sees, {IMAGE_SLIDER}, less 0.9"] == (-0.15, "does not hold")
    assert numbers[f"share of items whose effect never falls, {TEXT}, less 0.9"] == (0.1, "holds")
    assert numbers[f"share of items whose effect never falls, {JOINT}, less 0.9"] == (-0.9, "does not hold")
    curve = found.summary[(found.summary["measure"] == "effect share") & (found.summary["method"] == TEXT)]
    assert list(curve["mean"]) == pytest.approx(list(STRENGTHS**2))
