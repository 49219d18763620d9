"""Straightness of curves that are known, the scaled direction against the editors' own, and the whole way."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest
import torch

from latentedit.directions.hsds import HSDS
from latentedit.editors.baselines.inversion import AlignedInversion
from latentedit.editors.eim import EIM
from latentedit_bench.experiments.base import Outcome
from latentedit_bench.experiments.known_items import CAPTIONS
from latentedit_bench.experiments.linear_strength import (
    IMAGE,
    JOINT,
    SDEDIT,
    SHUFFLED,
    STRAIGHT,
    TEXT,
    LinearStrength,
    Scaled,
    gradual,
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


def test_several_strengths_share_the_search_and_the_way_up() -> None:
    batch = prepared(2, reads=False)
    scaled = Scaled(of=EIM.from_dict({"arm": "joint", "steps": 4, "level": 1.0, "search": HSDS(steps=2)}))
    with batch.latent.backbone.count() as cost:
        both = scaled.edit(batch.latent, batch.target, [0.5, 1.0], seed=3)
    assert cost.evaluations == 2 * (scaled.evaluations(batch.latent) + 4)
    for strength, found in zip((0.5, 1.0), both, strict=True):
        alone = scaled.edit(batch.latent, batch.target, [strength], seed=3)[0].z
        torch.testing.assert_close(found.z, alone)


def test_gradual_curves() -> None:
    """A line; a sigmoid; a jump of half; a fall; a fall that rounding explains; nothing at all."""
    curves = np.array(
        [
            [0.25, 0.5, 0.75, 1.0],
            [0.1, 0.4, 0.7, 0.8],
            [0.1, 0.2, 0.7, 0.9],
            [0.3, 0.6, 0.55, 0.9],
            [0.3, 0.6, 0.599, 0.9],
            [0.0, 0.01, 0.01, 0.02],
        ]
    )
    assert gradual(curves) == pytest.approx([1, 1, 0, 0, 1, np.nan], nan_ok=True)


CURVES = {
    TEXT: [(s, s * s) for s in STRENGTHS],
    JOINT: [(0.25, 0.5), (0.5, 0.4), (0.75, 0.75), (1.0, 1.0)],
    IMAGE: [(s, 0.8 * s) for s in STRENGTHS],
    SDEDIT: [(0.25, 0.0), (0.5, 0.1), (0.75, 0.9), (1.0, 1.0)],
}


def concluded(curves: Mapping[str, Sequence[tuple[float, float]]]) -> Outcome:
    paths = {n: {f"i{i}": [(s, e, 0.0) for s, e in points] for i in range(8)} for n, points in curves.items()}
    table = pd.DataFrame(constructed(paths, model="portraits"))
    table = table.assign(**{"tv a": np.sqrt(table["strength"]), "tv b": 0.0, "true tv a": 1.0, "true tv b": 0.2})
    return LinearStrength().conclude(pd.concat([table.assign(captions=captions) for captions in CAPTIONS]))


@pytest.mark.slow
def test_what_eight_items_say() -> None:
    """The text arm acts as the square of the strength, the joint arm falls back, the image arm is straight."""
    curves = {**CURVES, TEXT: [(0.25, 0.1), (0.5, 0.3), (0.75, 0.65), (1.0, 1.0)]}
    found = concluded(curves)
    numbers = {claim.measure: (round(claim.estimate, 6), claim.verdict) for claim in found.claims}
    gradually, straight = "share of gradual items", "straightness of the effect"
    where = "partial captions, less 0.9"
    assert found.claims[0].measure == f"{gradually}, {TEXT}, {where}"
    assert numbers[f"{gradually}, {TEXT}, {where}"] == (0.1, "holds")
    assert numbers[f"{gradually}, {SDEDIT}, {where}"] == (-0.9, "does not hold")
    assert numbers[f"{gradually}, {JOINT}, {where}"] == (-0.9, "does not hold")
    assert numbers[f"{gradually}, {TEXT} less {SDEDIT}, partial captions"] == (1.0, "holds")
    assert numbers[f"{gradually}, {SHUFFLED}, {where}"][0] < 0
    assert numbers[f"{straight}, {TEXT}, {where}"] == (-0.1, "does not hold")
    assert numbers[f"{straight}, {IMAGE}, {where}"] == (0.1, "holds")
    assert numbers[f"straightness of what is read, {IMAGE}, {where}"] == (-0.15, "does not hold")
    said = {claim.measure: claim.statement for claim in found.claims}
    assert said[f"{straight}, {TEXT}, {where}"] == STRAIGHT != said[f"{gradually}, {TEXT}, {where}"]
    curve = found.summary[(found.summary["measure"] == "effect share") & (found.summary["method"] == TEXT)]
    assert list(curve["mean"]) == pytest.approx([0.1, 0.3, 0.65, 1.0])


@pytest.mark.slow
def test_a_jump_does_not_hold() -> None:
    """The last step of a square makes .4375 of the whole."""
    first = concluded(CURVES).claims[0]
    assert (round(first.estimate, 6), first.verdict) == (-0.9, "does not hold")
