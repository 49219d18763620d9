"""The arms in closed form, the gain of made-up scores, and what it is the gain over."""

import itertools

import pandas as pd
import pytest
import torch

from latentedit.core.levels import uniform_grid
from latentedit.directions.at_level import clean_share
from latentedit.latents.inversion import invert, replay
from latentedit_bench.experiments.base import Outcome
from latentedit_bench.experiments.joint_latent import (
    ANNEALED,
    COARSE,
    DIRECT,
    IMAGE,
    JOINT,
    NO_WALK,
    ONE_LOOK,
    TEXT,
    JointLatent,
    arms,
)
from latentedit_bench.experiments.known_items import CAPTIONS
from latentedit_bench.metrics.statistics import Table
from tests.bench.experiments.rendered_bench import rows
from tests.bench.rendered_network import COLOURS, prepared

SMALL = JointLatent(levels=(0.5, 0.8))

DECIDES = "SDE, annealed d, full captions, level 0.5"


def test_the_arms_on_a_field_that_is_linear() -> None:
    """``v = z/2 - s B c``: a step back takes u to ``(1 - h/2) u``, and under the target text adds ``h s B n``."""
    batch, level, steps = prepared(3, reads=False), 0.8, 4
    latent = batch.latent
    d = 0.1 * torch.arange(latent.z.numel()).reshape(latent.z.shape).cos()
    found = arms(latent, batch.target, {"one": d, "none": torch.zeros_like(d)}, level=level, steps=steps)
    h, said = level / steps, (batch.target - latent.condition).tokens[:, 0] @ COLOURS
    u, by_text = (1 - level) * d, torch.zeros_like(said)
    for s in (0.6, 0.4, 0.2, 0.0):
        u, by_text = u * (1 - h / 2), by_text * (1 - h / 2) + h * s * said
    text = by_text[:, :, None, None].expand_as(d)
    for key, moved in {(TEXT, ""): text, (IMAGE, "one"): u, (JOINT, "one"): u + text, (JOINT, "none"): text}.items():
        torch.testing.assert_close(found[key], latent.z + moved, rtol=1e-4, atol=1e-5, msg=str(key))
    torch.testing.assert_close(found[IMAGE, "none"], latent.z, rtol=0, atol=0)


def test_the_image_arm_comes_back_through_the_model_under_the_source_text() -> None:
    """It is no edit of the clean latent: a model that pulls displacements in leaves less of d than x + d has."""
    batch = prepared(2, reads=False)
    d = torch.ones_like(batch.latent.z)
    grid = uniform_grid(5, start=0.9)
    trace = invert(batch.latent, grid)
    again = replay(batch.latent, trace, batch.latent.condition, offset=clean_share(0.9) * d)
    found = arms(batch.latent, batch.target, {"d": d}, level=0.9, steps=5)[IMAGE, "d"]
    assert torch.equal(found, again)
    assert (found - batch.latent.z).abs().max() < 0.2


def scored(**scores: float) -> Table:
    """Eight items of every setting with full and partial captions, an arm's score for all that is not named."""
    tables: list[pd.DataFrame] = []
    for captions in CAPTIONS:
        moved = itertools.product((IMAGE, JOINT), (ANNEALED, ONE_LOOK), SMALL.levels)
        still = itertools.product((DIRECT,), (ANNEALED, ONE_LOOK), (0.0,))
        for arm, search, level in (*itertools.product((TEXT,), ("",), SMALL.levels), *moved, *still):
            score = scores.get(f"{arm}_{search}_{level:g}".replace(" ", "_").replace(".", ""), scores[arm])
            some = pd.DataFrame(rows({arm: [score] * 8}, captions=captions, error=1 - score))
            tables.append(some.assign(arm=arm, search=search, level=level))
    return pd.concat(tables, ignore_index=True)


def concluded(table: Table) -> Outcome:
    return SMALL.conclude(pd.concat([table.assign(model=name) for name in SMALL.models]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("joint", "verdict"), [(0.8, "holds"), (0.65, "does not hold"), (0.7, "undecided at this size")]
)
def test_the_gain_is_over_the_better_of_both(joint: float, verdict: str) -> None:
    """Text scores .7 on half of the items and .5 on the others, image the other way: the better one is .7 on all."""
    table = scored(joint=joint, text=0.7, image=0.7, direct=0.75)
    low = table["item"].isin(["i00", "i01", "i02", "i03"])
    table.loc[low & (table["arm"] == TEXT), "disentanglement"] = 0.5
    table.loc[~low & (table["arm"] == IMAGE), "disentanglement"] = 0.5
    found = concluded(table)
    numbers = {claim.measure: claim for claim in found.claims if claim.model == "portraits"}
    assert found.claims[0].measure == DECIDES
    assert found.claims[0].estimate == pytest.approx(joint - 0.7)
    assert found.claims[0].verdict == verdict
    assert numbers["SDE, one look d, partial captions, level 0.8"].estimate == pytest.approx(joint - 0.7)
    assert numbers["error at most 1, annealed d, full captions, level 0.5"].estimate == pytest.approx(joint - 0.7)
    assert [claim.measure for claim in found.claims].count(DECIDES) == len(SMALL.models)


@pytest.mark.slow
def test_only_the_declared_level_and_direction_decide() -> None:
    found = concluded(scored(joint=0.9, text=0.2, image=0.2, direct=0.5, joint_annealed_05=0.3))
    assert found.claims[0].estimate == pytest.approx(0.1)
    numbers = {claim.measure: claim.estimate for claim in found.claims}
    assert numbers["SDE, annealed d, full captions, level 0.8"] == pytest.approx(0.7)
    assert numbers["SDE, one look d, full captions, level 0.5"] == pytest.approx(0.7)


@pytest.mark.slow
def test_what_needs_no_walk_is_another_claim() -> None:
    """The direct move beside the joint arm: better with the annealed direction, worse with the coarse one."""
    table = scored(joint=0.6, text=0.2, image=0.2, direct=0.7, direct_one_look_0=0.4)
    found = concluded(table)
    said = {claim.statement: claim for claim in found.claims}
    assert set(said) == {SMALL.statement, NO_WALK, COARSE}
    assert said[NO_WALK].estimate == pytest.approx(0.1)
    assert said[COARSE].estimate == pytest.approx(0.2)
    assert {said[NO_WALK].verdict, said[COARSE].verdict} == {"holds"}


@pytest.mark.slow
def test_a_missing_arm_is_no_gain() -> None:
    """An item without one arm's score has no maximum of two."""
    table = scored(joint=0.8, text=0.7, image=0.6, direct=0.5)
    table.loc[(table["item"] == "i00") & (table["arm"] == TEXT), "disentanglement"] = None
    claim = concluded(table).claims[0]
    assert claim.samples == 7
    assert claim.estimate == pytest.approx(0.1)
