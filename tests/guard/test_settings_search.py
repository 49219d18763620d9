"""Settings found without right answers: what it costs, what is chosen, and when it is used."""

import dataclasses
import json
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import latentedit as le
from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.editors.base import localizes, make_editor
from latentedit.editors.eim import EIM
from latentedit.editors.judge import Judge
from latentedit.guard import settings_search
from latentedit.guard.calibration import CalibratedSettings, keep_calibration
from latentedit.guard.guard import CORRUPTIONS
from latentedit.guard.settings_search import (
    DEFAULT,
    Criteria,
    Search,
    calibrate_settings,
    candidates,
    consensus_distances,
    exchanged,
    levels_of,
    losses_at,
    rank_sums,
    smaller,
    suitable_judge,
)
from latentedit.latents.captions.change import changed_phrases
from latentedit.latents.drawing import draw_images
from latentedit.latents.joint import JointLatent
from tests.editors.colors import COLORS, ColorBackbone

pytestmark = pytest.mark.slow

HOW = Search(images=3, steps=2, batch=2)
CAPTIONS = ["red", "blue", "green"]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three candidates and the default."""
    some = ("usual", "from level 0.6", "3 steps")
    monkeypatch.setattr(settings_search, "AROUND", {name: settings_search.AROUND[name] for name in some})


@pytest.fixture
def colors() -> ColorBackbone:
    return ColorBackbone()


def test_it_costs_about_what_it_states(colors: ColorBackbone) -> None:
    report: list[tuple[str, int, int]] = []
    with colors.count() as cost:
        found = calibrate_settings(colors, captions=CAPTIONS, how=HOW, progress=lambda *step: report.append(step))
    drawn, looks = HOW.steps, 4 * 4
    edits = sum(editor.search.evaluations() + looks for editor in candidates(colors).values())
    measured = 3 * (drawn + looks + edits) + 2 * len(CORRUPTIONS) * looks // 2
    last = cost.evaluations - measured  # of the strengths, with the settings that were chosen
    assert last == 2 * (drawn + found.evaluations + 2 + 10 * 4)
    assert report == [("settings", 1, 3), ("settings", 2, 3), ("settings", 3, 3)]
    assert found.images == 3


def test_what_is_chosen_is_good_by_the_right_answer(colors: ColorBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a world of Gaussians of one covariance the right answer moves by the difference of the means."""
    errors: dict[str, list[float]] = {name: [] for name in candidates(colors)}
    edit = EIM.edit

    def scored(self: EIM, latent: JointLatent, target: Condition, *rest: object, **more: object) -> object:
        made = edit(self, latent, target, *rest, **more)  # type: ignore[arg-type]
        whole = (target.tokens[:, 0] - latent.condition.tokens[:, 0])[:, :, None, None]
        error = (made[0].z - latent.z - whole).square().sum() / whole.expand_as(latent.z).square().sum()
        name = next(key for key, one in candidates(colors).items() if one == self)
        errors[name].append(float(error))
        return made

    monkeypatch.setattr(EIM, "edit", scored)
    found = calibrate_settings(colors, captions=CAPTIONS, how=HOW)
    truth = {name: sum(values) for name, values in errors.items()}
    best = next(iter(found.tried))
    assert truth[best] < 1e-3, "all but one edit all of it; what is left is noise"
    assert max(truth, key=truth.__getitem__) == list(found.tried)[-1] == "from level 0.6"
    assert found.eim == candidates(colors)[best]


def test_every_batch_has_images_of_its_own(colors: ColorBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Tensor] = []

    def drawing(*arguments: Any, **settings: Any) -> Tensor:
        drawn.append(draw_images(*arguments, **settings))
        return drawn[-1]

    monkeypatch.setattr(settings_search, "draw_images", drawing)
    calibrate_settings(colors, captions=["red", "blue"], how=Search(images=4, steps=2, batch=2))
    assert not torch.isclose(drawn[0], drawn[1]).all(dim=(1, 2, 3)).any()


def test_the_judge_has_the_level_where_shares_agree_and_separates_edits_from_harms() -> None:
    margin = torch.full((2, 4), -0.5).double()
    share = torch.tensor([[0.2, 0.9, 1.1, 1.8], [0.9, 1.0, 1.0, 1.1]]).double()
    target = torch.tensor([[1.0] * 4, [1.0, 1.0, 1.0, 1.0]]).double()
    own = target + margin + share * -2 * margin
    agreed = {"consensus": torch.zeros(4).double(), "full_consensus": torch.zeros(4).double()}
    edits = Criteria(own=own, target=target, margin=margin, **agreed)
    judge = suitable_judge((0.5, 0.8), edits, torch.full((2, 5), 4.0).double())
    assert judge == Judge(level=0.8, least_share=0.5, damage=2.0)
    blind = suitable_judge((0.5, 0.8), dataclasses.replace(edits, margin=0 * margin), torch.ones(2, 5).double())
    assert blind == Judge(), "a model that tells no texts apart gets the library's"
    assert suitable_judge((0.5, 0.8), edits, torch.zeros(2, 0).double()).damage == Judge().damage


def test_precedence(colors: ColorBackbone) -> None:
    default = EIM()
    assert make_editor("eim", colors) == default
    found = CalibratedSettings(
        eim=candidates(colors)["3 steps"],
        local=False,
        judge=Judge(level=0.9, damage=1.7),
        strengths=(-1.0, 2.0),
        images=3,
        evaluations=12,
        tried={"3 steps": {"residual": 1.0}},
    )
    assert localizes(default, colors)
    keep_calibration(colors, settings=found)
    assert CalibratedSettings.of(colors) == found
    assert make_editor("eim", colors) == found.eim
    assert Judge.of(colors) == found.judge
    assert not localizes(found.eim, colors)
    colors.defaults = {"editors": {"eim": {"arm": "text"}}, "judge": {"damage": 3.0}}
    assert make_editor("eim", colors) == EIM(arm="text")
    assert Judge.of(colors) == Judge(damage=3.0)
    assert localizes(EIM, colors)
    colors.defaults = {"editors": {"sdedit": {"level": 0.5}}}
    assert make_editor("eim", colors) == found.eim, "the maker tuned another editor"
    colors.defaults = {"editors": {"eim": {"arm": "text"}}}
    keep_calibration(colors, settings=dataclasses.replace(found, preferred=True))
    assert make_editor("eim", colors) == found.eim
    assert not localizes(EIM, colors)


def test_records_state_that_settings_were_calibrated(colors: ColorBackbone) -> None:
    image = Image.new("RGB", (8, 8), (204, 76, 76))
    before = le.edit(colors, image, source_prompt="red", prompt="blue")
    assert not before.record.calibrated
    found = calibrate_settings(colors, captions=CAPTIONS, how=HOW)
    stored = json.loads(keep_calibration(colors, settings=found).read_text())
    assert set(stored) == {"fingerprint", "settings"}
    assert DEFAULT in stored["settings"]["tried"]
    after = le.edit(colors, image, source_prompt="red", prompt="blue")
    assert after.record.calibrated
    assert not le.edit(colors, image, source_prompt="red", prompt="blue", method="sdedit").record.calibrated
    assert after.record.directions[0].settings["steps"] == make_editor("eim", colors).to_dict()["search"]["steps"]


def test_exchanged_phrases() -> None:
    captions = ["a man with a hat, a scarf, on grass", "a man with a cap, a scarf, on snow", "red"]
    assert exchanged(captions[0], captions[1:], 0) == "a man with a cap, a scarf, on grass"
    assert exchanged(captions[0], captions[1:], 1) == "a man with a hat, a scarf, on snow", "scarves are the same"
    assert exchanged(captions[0], captions[1:], 3) == exchanged(captions[0], captions[1:], 0)
    assert exchanged("red", captions[:1], 0) == captions[0], "nothing stands in its place"
    mine, other = "a man with a hat, a scarf, on grass", "a man with a cap, a tie, on snow"
    assert len(changed_phrases(mine, exchanged(mine, [other], 2))[1]) == 2, "two phrases of every third caption"
    with pytest.raises(ConfigError):
        exchanged("red", ["Red", "red"], 0)


@pytest.fixture
def colored() -> JointLatent:
    """A red image and a blue one."""
    model = ColorBackbone()
    captions = ("red", "blue")
    noise = 0.1 * torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    z = noise + torch.tensor([COLORS[name] for name in captions])[:, :, None, None]
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
    return Criteria.of(before, after, consensus=agreed, full_consensus=agreed)


def test_criteria_state_what_the_verdict_states(colored: JointLatent) -> None:
    target = colored.backbone.embed(["green", "gray"])
    z = colored.z + 0.7 * (target.tokens[:, 0] - colored.condition.tokens[:, 0])[:, :, None, None]
    texts = (colored.condition, target)
    before, after = (losses_at(colored, texts, one, seed=3) for one in (colored.z, z))
    found = criteria(before, after)
    for index, level in enumerate(levels_of(colored.backbone)):
        # The same closed form under other noise: with all pixels the two agree to a few hundredths.
        verdicts = Judge(level=level, damage=1000).judge(colored, target, z, strength=1.0, seed=3)
        assert found.share[index].tolist() == pytest.approx([one.share for one in verdicts], abs=0.06)
        assert found.residual[index].tolist() == pytest.approx([one.residual for one in verdicts], rel=0.1)


def test_right_answers_score_best_and_nothing_and_too_much_worse(colored: JointLatent) -> None:
    """The optimal map of the world is the difference of the means."""
    target = colored.backbone.embed(["green", "red"])
    whole = (target.tokens[:, 0] - colored.condition.tokens[:, 0])[:, :, None, None]
    texts = (colored.condition, target)
    before = losses_at(colored, texts, colored.z, seed=0)
    for name, least in (("residual", 1.0), ("share", 0.0)):
        found = {
            scale: criteria(before, losses_at(colored, texts, colored.z + scale * whole, seed=0)).means[name]
            for scale in (0.0, 0.5, 1.0, 1.5, 3.0)
        }
        assert min(found, key=found.__getitem__) == 1.0, name
        assert found[1.0] == pytest.approx(least, abs=0.05), name
        assert found[0.0] > found[0.5], name


def test_a_share_of_texts_that_mean_the_same_is_unknown(colored: JointLatent) -> None:
    before = losses_at(colored, (colored.condition, colored.condition), colored.z, seed=0)
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
