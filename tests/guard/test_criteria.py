"""The criteria of edits: they say what the verdict says, and a right answer has the best."""

import pytest
import torch
from torch import Tensor

from latentedit.editors.judge import Judge
from latentedit.guard.criteria import Criteria, consensus_distances, levels_of, losses_at, rank_sums, smaller
from latentedit.latents.joint import JointLatent
from tests.editors.colours import COLOURS, ColourBackbone

pytestmark = pytest.mark.slow


@pytest.fixture
def coloured() -> JointLatent:
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
    changes[:3] = 0.5
    assert consensus_distances(changes)[:3].tolist() == [[0.0]] * 3
    assert consensus_distances(changes)[3].item() == pytest.approx(1)


def criteria(before: Tensor, after: Tensor) -> Criteria:
    """The criteria of edits that agree with all others."""
    agreed = torch.zeros(before.shape[-1]).double()
    return Criteria.of(before, after, consensus=agreed, whole=agreed)


def test_criteria_say_what_the_verdict_says(coloured: JointLatent) -> None:
    target = coloured.backbone.embed(["green", "grey"])
    z = coloured.z + 0.7 * (target.tokens[:, 0] - coloured.condition.tokens[:, 0])[:, :, None, None]
    texts = (coloured.condition, target)
    before, after = (losses_at(coloured, texts, one, seed=3) for one in (coloured.z, z))
    found = criteria(before, after)
    for index, level in enumerate(levels_of(coloured.backbone)):
        # The same closed form under other noise: with all pixels the two agree to a few hundredths.
        verdicts = Judge(level=level, damage=1000).judge(coloured, target, z, strength=1.0, seed=3)
        assert found.share[index].tolist() == pytest.approx([one.share for one in verdicts], abs=0.06)
        assert found.residual[index].tolist() == pytest.approx([one.residual for one in verdicts], rel=0.1)


def test_right_answers_score_best_and_nothing_and_too_much_worse(coloured: JointLatent) -> None:
    """The optimal map of the world is the difference of the means."""
    target = coloured.backbone.embed(["green", "red"])
    whole = (target.tokens[:, 0] - coloured.condition.tokens[:, 0])[:, :, None, None]
    texts = (coloured.condition, target)
    before = losses_at(coloured, texts, coloured.z, seed=0)
    for name, least in (("residual", 1.0), ("share", 0.0)):
        found = {
            scale: criteria(before, losses_at(coloured, texts, coloured.z + scale * whole, seed=0)).means[name]
            for scale in (0.0, 0.5, 1.0, 1.5, 3.0)
        }
        assert min(found, key=found.__getitem__) == 1.0, name
        assert found[1.0] == pytest.approx(least, abs=0.05), name
        assert found[0.0] > found[0.5], name


def test_a_share_of_texts_that_mean_the_same_is_unknown(coloured: JointLatent) -> None:
    before = losses_at(coloured, (coloured.condition, coloured.condition), coloured.z, seed=0)
    found = criteria(before, before)
    assert bool(found.share.isnan().all())
    assert found.means["share"] == 1


def test_ranks_are_added_up() -> None:
    rows = [(1.0, 0.1, 5.0, 9.0), (2.0, 0.1, 4.0, 0.0), (3.0, 0.2, 6.0, 0.0)]
    means = [dict(zip(("residual", "share", "consensus", "consensus, not local"), row, strict=True)) for row in rows]
    assert rank_sums(means) == [1 + 1.5 + 2, 2 + 1.5 + 1, 9.0]


def test_large_changes_are_compared_at_128_pixels() -> None:
    change = torch.rand(1, 3, 256, 512, generator=torch.Generator().manual_seed(0))
    assert smaller(change).shape == (1, 3, 64, 128)
    assert smaller(change).mean().item() == pytest.approx(change.mean().item(), abs=1e-6)
    assert smaller(change[..., :100, :100]).shape[2:] == (100, 100)
