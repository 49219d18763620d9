"""Search for settings without ground truth: its cost, its choice, and when the result is used."""

import dataclasses
import json
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import latentedit as le
from latentedit.calibration import settings_search
from latentedit.calibration.drawing import draw_images
from latentedit.calibration.guard import CalibratedSettings, keep_calibration
from latentedit.calibration.settings_search import (
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
from latentedit.core.errors import ConfigError
from latentedit.editors.base import make_editor
from latentedit.editors.eim import EIM
from latentedit.editors.judge import Judge
from latentedit.encoding.captions.change import changed_phrases
from latentedit.encoding.familiarity import CORRUPTIONS
from latentedit.encoding.joint import JointLatent
from latentedit.numerics.condition import Condition
from tests.editors.colors import COLORS, ColorBackbone

pytestmark = pytest.mark.slow

SEARCH = Search(images=3, steps=2, batch=2)
CAPTIONS = ["red", "blue", "green"]


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reduces the search to three candidates and the default."""
    names = ("usual", "from level 0.6", "3 steps")
    monkeypatch.setattr(settings_search, "AROUND", {name: settings_search.AROUND[name] for name in names})


@pytest.fixture
def colors() -> ColorBackbone:
    return ColorBackbone()


def test_the_search_reports_its_cost(colors: ColorBackbone) -> None:
    reports: list[tuple[str, int, int]] = []
    with colors.count() as cost:
        result = calibrate_settings(colors, captions=CAPTIONS, how=SEARCH, progress=lambda *step: reports.append(step))
    draw_evaluations, judge_evaluations = SEARCH.steps, 4 * 4
    edits = sum(editor.search.evaluations() + judge_evaluations for editor in candidates(colors).values())
    search_evaluations = (
        3 * (draw_evaluations + judge_evaluations + edits) + 2 * len(CORRUPTIONS) * judge_evaluations // 2
    )
    strength_evaluations = cost.evaluations - search_evaluations  # for the strengths, with the chosen settings
    assert strength_evaluations == 2 * (draw_evaluations + result.evaluations + 2 + 10 * 4)
    assert reports == [("settings", 1, 3), ("settings", 2, 3), ("settings", 3, 3)]
    assert result.images == 3


def test_the_chosen_settings_have_the_smallest_true_error(
    colors: ColorBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For Gaussians of equal covariance, the correct edit adds the difference of the means."""
    errors: dict[str, list[float]] = {name: [] for name in candidates(colors)}
    edit = EIM.edit

    def recording_edit(self: EIM, latent: JointLatent, target: Condition, *args: object, **kwargs: object) -> object:
        edited = edit(self, latent, target, *args, **kwargs)  # type: ignore[arg-type]
        shift = (target.tokens[:, 0] - latent.condition.tokens[:, 0])[:, :, None, None]
        error = (edited[0].z - latent.z - shift).square().sum() / shift.expand_as(latent.z).square().sum()
        name = next(key for key, candidate in candidates(colors).items() if candidate == self)
        errors[name].append(float(error))
        return edited

    monkeypatch.setattr(EIM, "edit", recording_edit)
    result = calibrate_settings(colors, captions=CAPTIONS, how=SEARCH)
    total_errors = {name: sum(values) for name, values in errors.items()}
    best = next(iter(result.tried))
    assert total_errors[best] < 1e-3, "all but one candidate make the full edit; the remaining error is noise"
    assert max(total_errors, key=total_errors.__getitem__) == list(result.tried)[-1] == "from level 0.6"
    assert result.eim == candidates(colors)[best]


def test_the_best_third_of_the_candidates_continues(colors: ColorBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = calibrate_settings(colors, captions=CAPTIONS, how=dataclasses.replace(SEARCH, images=2))
    tried = list[list[str]]()
    evaluate = settings_search.evaluate_settings

    def recording(*given: Any, seed: int) -> dict[str, Criteria]:
        tried.append(sorted(given[-1]))
        return evaluate(*given, seed=seed)

    monkeypatch.setattr(settings_search, "evaluate_settings", recording)
    how = dataclasses.replace(SEARCH, images=4, first=2)
    result = calibrate_settings(colors, captions=CAPTIONS, how=how)
    assert tried == [sorted(candidates(colors)), sorted(list(whole.tried)[:2])]
    assert list(result.tried)[2:] == list(whole.tried)[2:], "those that were dropped keep their order"


def test_batches_have_different_images(colors: ColorBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[Tensor] = []

    def recording_draw(*args: Any, **settings: Any) -> Tensor:
        batches.append(draw_images(*args, **settings))
        return batches[-1]

    monkeypatch.setattr(settings_search, "draw_images", recording_draw)
    calibrate_settings(colors, captions=["red", "blue"], how=Search(images=4, steps=2, batch=2))
    assert not torch.isclose(batches[0], batches[1]).all(dim=(1, 2, 3)).any()


def test_the_judge_uses_the_level_where_shares_agree() -> None:
    margin = torch.full((2, 4), -0.5).double()
    share = torch.tensor([[0.2, 0.9, 1.1, 1.8], [0.9, 1.0, 1.0, 1.1]]).double()
    target = torch.tensor([[1.0] * 4, [1.0, 1.0, 1.0, 1.0]]).double()
    own = target + margin + share * -2 * margin
    agreed = {"consensus": torch.zeros(4).double(), "full_consensus": torch.zeros(4).double()}
    edits = Criteria(own=own, target=target, margin=margin, **agreed)
    judge = suitable_judge((0.5, 0.8), edits, torch.full((2, 5), 4.0).double())
    assert judge == Judge(level=0.8, least_share=0.5, damage=2.0)
    indifferent = suitable_judge((0.5, 0.8), dataclasses.replace(edits, margin=0 * margin), torch.ones(2, 5).double())
    assert indifferent == Judge(), "a model that ignores the text gets the default judge"
    assert suitable_judge((0.5, 0.8), edits, torch.zeros(2, 0).double()).damage == Judge().damage


def test_precedence_of_calibrated_and_model_settings(colors: ColorBackbone) -> None:
    default = EIM()
    assert make_editor("eim", colors) == default
    result = CalibratedSettings(
        eim=candidates(colors)["3 steps"],
        local=False,
        judge=Judge(level=0.9, damage=1.7),
        strengths=(-1.0, 2.0),
        images=3,
        evaluations=12,
        tried={"3 steps": {"residual": 1.0}},
    )
    assert default.localizes_on(colors)
    keep_calibration(colors, settings=result)
    assert CalibratedSettings.of(colors) == result
    assert make_editor("eim", colors) == result.eim
    assert Judge.of(colors) == result.judge
    assert not result.eim.localizes_on(colors)
    colors.defaults = {"editors": {"eim": {"arm": "text"}}, "judge": {"damage": 3.0}}
    assert make_editor("eim", colors) == EIM(arm="text")
    assert Judge.of(colors) == Judge(damage=3.0)
    assert EIM().localizes_on(colors)
    colors.defaults = {"editors": {"sdedit": {"level": 0.5}}}
    assert make_editor("eim", colors) == result.eim, "the model's defaults concern another editor"
    colors.defaults = {"editors": {"eim": {"arm": "text"}}}
    keep_calibration(colors, settings=dataclasses.replace(result, preferred=True))
    assert make_editor("eim", colors) == result.eim
    assert not EIM().localizes_on(colors)


def test_records_state_that_settings_were_calibrated(colors: ColorBackbone) -> None:
    image = Image.new("RGB", (8, 8), (204, 76, 76))
    before = le.edit(colors, image, source_prompt="red", prompt="blue")
    assert not before.record.calibrated
    result = calibrate_settings(colors, captions=CAPTIONS, how=SEARCH)
    stored = json.loads(keep_calibration(colors, settings=result).read_text())
    assert set(stored) == {"fingerprint", "settings"}
    assert DEFAULT in stored["settings"]["tried"]
    after = le.edit(colors, image, source_prompt="red", prompt="blue")
    assert after.record.calibrated
    assert not le.edit(colors, image, source_prompt="red", prompt="blue", method="sdedit").record.calibrated
    assert after.record.directions[0].settings["steps"] == make_editor("eim", colors).to_dict()["search"]["steps"]


def test_exchanged_phrases() -> None:
    captions = ["a man with a hat, a scarf, on grass", "a man with a cap, a scarf, on snow", "red"]
    assert exchanged(captions[0], captions[1:], 0) == "a man with a cap, a scarf, on grass"
    assert exchanged(captions[0], captions[1:], 1) == "a man with a hat, a scarf, on snow", (
        "both captions have the scarf"
    )
    assert exchanged(captions[0], captions[1:], 3) == exchanged(captions[0], captions[1:], 0)
    assert exchanged("red", captions[:1], 0) == captions[0], "no phrase corresponds, so the whole caption is exchanged"
    caption, other = "a man with a hat, a scarf, on grass", "a man with a cap, a tie, on snow"
    assert len(changed_phrases(caption, exchanged(caption, [other], 2))[1]) == 2, (
        "every third caption exchanges two phrases"
    )
    with pytest.raises(ConfigError):
        exchanged("red", ["Red", "red"], 0)


@pytest.fixture
def color_latent() -> JointLatent:
    """The latent of a red and a blue image."""
    model = ColorBackbone()
    captions = ("red", "blue")
    noise = 0.1 * torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    z = noise + torch.tensor([COLORS[name] for name in captions])[:, :, None, None]
    return JointLatent(backbone=model, z=z, condition=model.embed(captions), captions=captions, decoded=z)


def test_consensus_distances_are_measured_from_the_median_of_the_others() -> None:
    changes = torch.randn(6, 2, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    overall_median = changes.quantile(0.5, dim=0)
    distances = consensus_distances(changes)
    assert distances.shape == (6, 2)
    for index, result in enumerate(distances):
        others = torch.cat([changes[:index], changes[index + 1 :]]).median(dim=0).values
        expected = (changes[index] - others).flatten(1).norm(dim=1) / overall_median.flatten(1).norm(dim=1)
        torch.testing.assert_close(result, expected.double(), rtol=1e-5, atol=1e-6)


def test_equal_changes_have_no_consensus_distance() -> None:
    changes = torch.zeros(4, 1, 3, 2, 2)
    changes[:3] = 0.5
    assert consensus_distances(changes)[:3].tolist() == [[0.0]] * 3
    assert consensus_distances(changes)[3].item() == pytest.approx(1)


def criteria(before: Tensor, after: Tensor) -> Criteria:
    """The criteria of edits that agree with all other candidates."""
    agreed = torch.zeros(before.shape[-1]).double()
    return Criteria.of(before, after, consensus=agreed, full_consensus=agreed)


def test_criteria_match_the_judge(color_latent: JointLatent) -> None:
    target = color_latent.backbone.embed(["green", "gray"])
    z = color_latent.z + 0.7 * (target.tokens[:, 0] - color_latent.condition.tokens[:, 0])[:, :, None, None]
    texts = (color_latent.condition, target)
    before, after = (losses_at(color_latent, texts, images, seed=3) for images in (color_latent.z, z))
    result = criteria(before, after)
    for index, level in enumerate(levels_of(color_latent.backbone)):
        # The same closed form with other noise: over all pixels, the two agree to a few hundredths.
        verdicts = Judge(level=level, damage=1000).judge(color_latent, target, z, strength=1.0, seed=3)
        assert result.share[index].tolist() == pytest.approx([verdict.share for verdict in verdicts], abs=0.06)
        assert result.residual[index].tolist() == pytest.approx([verdict.residual for verdict in verdicts], rel=0.1)


def test_correct_edits_have_the_best_criteria(color_latent: JointLatent) -> None:
    """The optimal edit adds the difference of the means."""
    target = color_latent.backbone.embed(["green", "red"])
    shift = (target.tokens[:, 0] - color_latent.condition.tokens[:, 0])[:, :, None, None]
    texts = (color_latent.condition, target)
    before = losses_at(color_latent, texts, color_latent.z, seed=0)
    for name, best_value in (("residual", 1.0), ("share", 0.0)):
        means = {
            scale: criteria(before, losses_at(color_latent, texts, color_latent.z + scale * shift, seed=0)).means[name]
            for scale in (0.0, 0.5, 1.0, 1.5, 3.0)
        }
        assert min(means, key=means.__getitem__) == 1.0, name
        assert means[1.0] == pytest.approx(best_value, abs=0.05), name
        assert means[0.0] > means[0.5], name


def test_shares_of_equal_texts_are_nan(color_latent: JointLatent) -> None:
    before = losses_at(color_latent, (color_latent.condition, color_latent.condition), color_latent.z, seed=0)
    result = criteria(before, before)
    assert bool(result.share.isnan().all())
    assert result.means["share"] == 1


def test_rank_sums_average_ties() -> None:
    rows = [(1.0, 0.1, 5.0, 9.0), (2.0, 0.1, 4.0, 0.0), (3.0, 0.2, 6.0, 0.0)]
    means = [dict(zip(("residual", "share", "consensus", "consensus, not local"), row, strict=True)) for row in rows]
    assert rank_sums(means) == [1 + 1.5 + 2, 2 + 1.5 + 1, 9.0]


def test_large_changes_are_compared_at_128_pixels() -> None:
    change = torch.rand(1, 3, 256, 512, generator=torch.Generator().manual_seed(0))
    assert smaller(change).shape == (1, 3, 64, 128)
    assert smaller(change).mean().item() == pytest.approx(change.mean().item(), abs=1e-6)
    assert smaller(change[..., :100, :100]).shape[2:] == (100, 100)
