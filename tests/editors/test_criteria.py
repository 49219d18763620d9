"""Criteria that need no right answer, against their definitions and in a world where the answer is known."""

import math

import pytest
import torch

from latentedit.editors.criteria import Look, consensus_distances, levels_of, losses_at, rank_sums, smaller
from latentedit.editors.judge import Judge
from latentedit.latents.joint import JointLatent
from tests.editors.colours import COLOURS, ColourBackbone


@pytest.fixture
def latent() -> JointLatent:
    """A red picture and a blue one."""
    model = ColourBackbone()
    captions = ("red", "blue")
    noise = 0.1 * torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    z = noise + torch.tensor([COLOURS[name] for name in captions])[:, :, None, None]
    return JointLatent(backbone=model, z=z, condition=model.embed(captions), captions=captions, decoded=z)


def test_the_consensus_is_the_median_of_the_others() -> None:
    changes = torch.randn(6, 2, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    everything = changes.quantile(0.5, dim=0)
    for index, found in enumerate(consensus_distances(changes)):
        others = torch.cat([changes[:index], changes[index + 1 :]]).median(dim=0).values
        expected = (changes[index] - others).flatten(1).norm(dim=1) / everything.flatten(1).norm(dim=1)
        torch.testing.assert_close(found, expected.double(), rtol=1e-5, atol=1e-6)


def test_equal_changes_agree_however_many_are_zero() -> None:
    changes = torch.zeros(4, 1, 3, 2, 2)
    assert consensus_distances(changes).tolist() == [[0.0]] * 4
    changes[:3] = 0.5
    assert consensus_distances(changes)[:3].tolist() == [[0.0]] * 3
    assert consensus_distances(changes)[3].item() == pytest.approx(1)


def test_a_look_says_what_the_verdict_says(latent: JointLatent) -> None:
    target = latent.backbone.embed(["green", "grey"])
    z = latent.z + 0.7 * (target.tokens[:, 0] - latent.condition.tokens[:, 0])[:, :, None, None]
    texts = (latent.condition, target)
    before, after = (losses_at(latent, texts, one, seed=3) for one in (latent.z, z))
    look = Look.of(before, after)
    for index, level in enumerate(levels_of(latent.backbone)):
        # The same closed form under other noise: with all pixels the two agree to a few hundredths.
        verdicts = Judge(level=level, damage=1000).judge(latent, target, z, strength=1.0, seed=3)
        assert look.share[index].tolist() == pytest.approx([one.share for one in verdicts], abs=0.06)
        assert look.residual[index].tolist() == pytest.approx([one.residual for one in verdicts], rel=0.1)


def test_right_answers_score_best_and_nothing_and_too_much_worse(latent: JointLatent) -> None:
    """The optimal map of the world is the difference of the means."""
    target = latent.backbone.embed(["green", "red"])
    whole = (target.tokens[:, 0] - latent.condition.tokens[:, 0])[:, :, None, None]
    texts = (latent.condition, target)
    before = losses_at(latent, texts, latent.z, seed=0)
    for name, least in (("residual", 1.0), ("share", 0.0)):
        found = {
            scale: float(
                Look.of(before, losses_at(latent, texts, latent.z + scale * whole, seed=0)).scores[name].mean()
            )
            for scale in (0.0, 0.5, 1.0, 1.5, 3.0)
        }
        assert min(found, key=found.__getitem__) == 1.0, name
        assert found[1.0] == pytest.approx(least, abs=0.05), name
        assert found[0.0] > found[0.5], name


def test_a_share_of_texts_that_mean_the_same_is_unknown(latent: JointLatent) -> None:
    before = losses_at(latent, (latent.condition, latent.condition), latent.z, seed=0)
    look = Look.of(before, before)
    assert bool(look.share.isnan().all())
    assert look.scores["share"].tolist() == [1.0, 1.0]


def test_ranks_are_added_up() -> None:
    scores = {
        "residual": [1.0, 2.0, 3.0],
        "share": [0.1, 0.1, 0.2],
        "consensus": [5.0, 4.0, 6.0],
        "size": [9.0, 0.0, 0.0],
    }
    assert rank_sums(scores) == [1 + 1.5 + 2, 2 + 1.5 + 1, 9.0]
    assert rank_sums(scores, ("size",)) == [3.0, 1.5, 1.5]


def test_large_changes_are_compared_at_128_pixels() -> None:
    change = torch.rand(1, 3, 256, 512, generator=torch.Generator().manual_seed(0))
    assert smaller(change).shape == (1, 3, 64, 128)
    assert smaller(change).mean().item() == pytest.approx(change.mean().item(), abs=1e-6)
    assert smaller(change[..., :100, :100]).shape[2:] == (100, 100)
    assert math.isfinite(float(smaller(change).sum()))
