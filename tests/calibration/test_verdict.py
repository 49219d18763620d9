"""Calibration of a verdict without ground truth: its cost, its thresholds, and when the result is used."""

import dataclasses
import json
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import latentedit as le
from latentedit.calibration import verdict
from latentedit.calibration.calibration import Calibration
from latentedit.calibration.drawing import draw_images
from latentedit.calibration.guard import CalibratedSettings
from latentedit.calibration.verdict import (
    Judged,
    VerdictCalibration,
    calibrate_verdict,
    exchanged,
    levels_of,
    losses_at,
    suitable_judge,
)
from latentedit.core.errors import ConfigError
from latentedit.editors.base import make_editor
from latentedit.editors.eim import EIM
from latentedit.editors.judge import Judge
from latentedit.encoding.captions.change import changed_phrases
from latentedit.encoding.familiarity import CORRUPTIONS
from latentedit.encoding.joint import JointLatent
from latentedit.identification.hsds import HSDS
from tests.editors.colors import ColorBackbone, red_and_blue

SIZES = VerdictCalibration(images=3, steps=2, batch=2)
CAPTIONS = ["red", "blue", "green"]


@pytest.fixture
def colors() -> ColorBackbone:
    return ColorBackbone()


def test_calibration_reports_its_cost_and_the_editor_that_it_judged(colors: ColorBackbone) -> None:
    reports: list[tuple[str, int, int]] = []
    with colors.count() as cost:
        result = calibrate_verdict(colors, captions=CAPTIONS, how=SIZES, progress=lambda *step: reports.append(step))
    losses = 4 * 4  # evaluations an image, before an edit and after it
    search = EIM().search.evaluations()
    each = SIZES.steps + losses + search + losses
    first_batch = 2 * (SIZES.steps + search + 2 + 10 * 4)  # drawn again; strengths are tried with one direction
    assert cost.evaluations == 3 * each + 2 * len(CORRUPTIONS) * losses // 2 + first_batch
    assert reports == [("settings", 1, 3), ("settings", 2, 3), ("settings", 3, 3)]
    assert (result.images, result.evaluations, result.eim, result.local) == (3, search, EIM(), True)
    other = calibrate_verdict(colors, editor=EIM(search=HSDS(steps=3)), captions=CAPTIONS, how=SIZES)
    assert other.eim == EIM(search=HSDS(steps=3))


def test_models_and_captions_without_a_verdict_to_calibrate_are_refused(colors: ColorBackbone) -> None:
    with pytest.raises(ConfigError, match="list"):
        calibrate_verdict(colors, captions="red", how=SIZES)
    colors.capabilities = dataclasses.replace(colors.capabilities, s_min=0.98, s_max=0.99)
    with colors.count() as cost, pytest.raises(ConfigError, match="judged"):
        calibrate_verdict(colors, captions=CAPTIONS, how=SIZES)
    assert cost.evaluations == 0


def test_batches_have_different_images(colors: ColorBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[Tensor] = []

    def recording_draw(*args: Any, **settings: Any) -> Tensor:
        batches.append(draw_images(*args, **settings))
        return batches[-1]

    monkeypatch.setattr(verdict, "draw_images", recording_draw)
    calibrate_verdict(colors, captions=["red", "blue"], how=VerdictCalibration(images=4, steps=2, batch=2))
    assert not torch.isclose(batches[0], batches[1]).all(dim=(1, 2, 3)).any()


def test_the_judge_uses_the_level_where_shares_agree() -> None:
    margin = torch.full((2, 4), -0.5).double()
    share = torch.tensor([[0.2, 0.9, 1.1, 1.8], [0.9, 1.0, 1.0, 1.1]]).double()
    target = torch.tensor([[1.0] * 4, [1.0, 1.0, 1.0, 1.0]]).double()
    own = target + margin + share * -2 * margin
    edits = Judged(own=own, target=target, margin=margin)
    judge = suitable_judge((0.5, 0.8), edits, torch.full((2, 5), 4.0).double())
    assert judge == Judge(level=0.8, least_share=0.5, damage=2.0)
    indifferent = suitable_judge((0.5, 0.8), dataclasses.replace(edits, margin=0 * margin), torch.ones(2, 5).double())
    assert indifferent == Judge(), "a model that ignores the text gets the default judge"
    assert suitable_judge((0.5, 0.8), edits, torch.zeros(2, 0).double()).damage == Judge().damage


def test_precedence_of_calibrated_and_model_settings(colors: ColorBackbone) -> None:
    default = EIM()
    assert make_editor("eim", colors) == default
    result = CalibratedSettings(
        eim=EIM(search=HSDS(steps=3)),
        local=False,
        judge=Judge(level=0.9, damage=1.7),
        strengths=(-1.0, 2.0),
        images=3,
        evaluations=12,
        tried={"3 steps": {"residual": 1.0}},
    )
    assert default.localizes_on(colors)
    Calibration(fingerprint=colors.fingerprint, settings=result).save()
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
    preferred = dataclasses.replace(result, preferred=True)
    Calibration(fingerprint=colors.fingerprint, settings=preferred).save()
    assert make_editor("eim", colors) == result.eim
    assert not EIM().localizes_on(colors)


def test_records_state_that_settings_were_calibrated(colors: ColorBackbone) -> None:
    image = Image.new("RGB", (8, 8), (204, 76, 76))
    before = le.edit(colors, image, source_prompt="red", prompt="blue")
    assert not before.record.calibrated
    result = calibrate_verdict(colors, captions=CAPTIONS, how=SIZES)
    file = Calibration(fingerprint=colors.fingerprint, settings=result).save()
    stored = json.loads(file.read_text())
    assert set(stored) == {"fingerprint", "settings"}
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
    return red_and_blue()


def test_losses_match_the_judge(color_latent: JointLatent) -> None:
    target = color_latent.backbone.embed(["green", "gray"])
    z = color_latent.z + 0.7 * (target.tokens[:, 0] - color_latent.condition.tokens[:, 0])[:, :, None, None]
    texts = (color_latent.condition, target)
    before, after = (losses_at(color_latent, texts, images, seed=3) for images in (color_latent.z, z))
    result = Judged.of(before, after)
    for index, level in enumerate(levels_of(color_latent.backbone)):
        # The same closed form with other noise: over all pixels, the two agree to a few hundredths.
        verdicts = Judge(level=level, damage=1000).judge(color_latent, target, z, strength=1.0, seed=3)
        assert result.share[index].tolist() == pytest.approx([verdict.share for verdict in verdicts], abs=0.06)
        assert result.residual[index].tolist() == pytest.approx([verdict.residual for verdict in verdicts], rel=0.1)


def test_shares_of_equal_texts_are_nan(color_latent: JointLatent) -> None:
    before = losses_at(color_latent, (color_latent.condition, color_latent.condition), color_latent.z, seed=0)
    assert bool(Judged.of(before, before).share.isnan().all())
