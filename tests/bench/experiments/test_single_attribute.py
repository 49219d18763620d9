"""Margins of constructed readings, the control's direction, and the whole way on a drawn model."""

from typing import Any

import pandas as pd
import pytest
import torch

from latentedit.directions.hsds import HSDS
from latentedit.editors.eim import EIM
from latentedit_bench.experiments.single_attribute import (
    OURS,
    RANDOM,
    RandomDirection,
    SingleAttribute,
    margin,
)
from tests.bench.experiments.rendered_bench import rows
from tests.bench.rendered_network import prepared

EDITOR = RandomDirection(like=EIM(search=HSDS(steps=2)))


def read(ours: dict[str, float], truth: dict[str, float], **more: Any) -> dict[str, float]:
    """Columns of changes and of those of the right answer."""
    return {f"tv {n}": v for n, v in ours.items()} | {f"true tv {n}": v for n, v in truth.items()} | more


def test_the_margin_is_over_the_worst_other() -> None:
    ours = ((0.9, 0.1, 0.3), (0.9, 0.6, 0.2), (0.1, 0.0, 0.7))
    truth = ((1.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.2, 0.0, 0.1))
    names = ("hair", "hair_color", "skin")
    pairs = [[dict(zip(names, one, strict=True)) for one in pair] for pair in zip(ours, truth, strict=True)]
    assert list(margin(pd.DataFrame([read(*pair) for pair in pairs]))) == pytest.approx([0.6, 0.4, -0.6])


@pytest.mark.parametrize(("asked", "other", "verdict"), [(0.9, 0.1, "holds"), (0.1, 0.9, "does not hold")])
def test_what_eight_items_say(asked: float, other: float, verdict: str) -> None:
    whole = {"skin": 1.0, "hair": 0.0}
    ours = rows({OURS: [0.0] * 8}, **read({"skin": asked, "hair": other}, whole, done=1.0, others_changed=0.0))
    control = rows({RANDOM: [0.0] * 8}, **read({"skin": 0.0, "hair": 0.0}, whole, done=0.0, others_changed=2.0))
    found = SingleAttribute().conclude(pd.DataFrame(ours + control))
    assert [claim.estimate for claim in found.claims] == pytest.approx([asked - other, asked - other, 1.0, 2.0])
    assert found.claims[0].verdict == verdict
    cells = found.summary[found.summary["part"] == "changes"].set_index("attribute")["mean"]
    assert cells["hair"] == pytest.approx(other)


def test_the_control_has_the_length_of_the_direction() -> None:
    """And no picture's direction is another's."""
    batch = prepared(3, reads=False)
    found = EDITOR.like.direction(batch.latent, batch.target, seed=4).z.flatten(1)
    moved = (EDITOR.edit(batch.latent, batch.target, [0.5], seed=4)[0].z - batch.latent.z).flatten(1)
    assert moved.norm(dim=1).tolist() == pytest.approx((0.5 * found.norm(dim=1)).tolist(), rel=1e-4)
    assert torch.nn.functional.cosine_similarity(moved[0], moved[1], dim=0).abs() < 0.03
    assert torch.nn.functional.cosine_similarity(moved, found).abs().max() < 0.03


def test_the_control_is_an_editor() -> None:
    batch = prepared(2, reads=False)
    assert RandomDirection.from_dict(EDITOR.to_dict()) == EDITOR
    with batch.latent.backbone.count() as cost:
        first = EDITOR.edit(batch.latent, batch.target, [1.0], seed=1)[0].z
    assert cost.evaluations == 2 * EDITOR.evaluations(batch.latent)
    assert torch.equal(first, EDITOR.edit(batch.latent, batch.target, [1.0], seed=1)[0].z)
    assert not torch.equal(first, EDITOR.edit(batch.latent, batch.target, [1.0], seed=2)[0].z)
    assert torch.equal(EDITOR.edit(batch.latent, batch.latent.condition, [1.0])[0].z, batch.latent.z)
