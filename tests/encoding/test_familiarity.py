"""The guard's thresholds from losses, and its verdicts on images of a model with a closed form."""

import dataclasses
import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from latentedit.core.errors import FileFormatError, ShapeError, UnknownImageError
from latentedit.core.setting import from_plain, to_plain
from latentedit.editing.request import EditRequest
from latentedit.editing.session import Session
from latentedit.editing.verbs import edit
from latentedit.encoding.encode import encode
from latentedit.encoding.familiarity import CORRUPTIONS, Guard, check_familiarity, guard_losses
from latentedit.models.model_settings import GUARD, calibration_file, calibration_of, store_calibration
from latentedit.numerics.rng import draw
from tests.editors.colors import COLORS, VARIANCE, ColorBackbone, ColorReader


def example_guard(**other: Any) -> Guard:
    """Known up to a loss of 0.03 if the caption helps, unknown from 0.2 at the far level."""
    harmed = {name: [2.0 + index, 2.0 + index, 2.0 + index] for index, name in enumerate(CORRUPTIONS)}
    harmed["gray"] = [0.05, 0.05, 0.1]
    values: dict[str, Any] = {"images": 9, "usual": 0.02, "known": 0.03, "ratio": 1.0, "empty": 0.06, "far": 0.2}
    values["harmed"] = harmed
    return Guard(**(values | other))


@pytest.mark.parametrize(
    ("row", "subject", "state", "reason"),
    [
        ((0.02, 0.05, 0.05), True, "known", ""),
        ((0.03, 0.05, 0.2), True, "known", ""),
        ((0.031, 0.05, 0.05), True, "doubtful", "colors"),
        ((0.02, 0.019, 0.05), True, "doubtful", "caption"),
        ((0.05, 0.049, 0.1), True, "doubtful", "caption"),
        ((0.2, 0.1, 0.1), True, "doubtful", "colors"),
        ((0.02, 0.05, 0.201), True, "unknown", "colors"),
        ((9.0, 9.0, 9.0), True, "unknown", "style"),
        ((0.02, 0.05, 0.05), False, "unknown", "subject"),
    ],
)
def test_states_and_their_most_likely_reason(row: tuple[float, ...], subject: bool, state: str, reason: str) -> None:
    assert example_guard().assess(row, subject=subject) == (state, reason)


def test_thresholds_are_quantiles_and_geometric_means() -> None:
    losses = torch.linspace(0.01, 0.02, 101).double()
    drawn = torch.stack([losses, 2 * losses, 3 * losses])
    severe = ("upside down", "quarters exchanged", "shuffled")
    harmed = {name: torch.full((3, 5), 9.0 if name in severe else 1.0).double() for name in CORRUPTIONS}
    result = Guard.from_losses(drawn, harmed, level=0.8)
    assert (result.images, result.level) == (101, 0.8)
    assert result.usual == pytest.approx(0.015)
    assert result.known == pytest.approx(0.0198)
    assert result.ratio == 1
    assert result.far == pytest.approx(3.0)  # sqrt(1 * 9)
    assert from_plain(Guard, json.loads(json.dumps(to_plain(result)))) == result
    relaxed = Guard.from_losses(torch.stack([losses, losses / 1.1, 500 * losses]), harmed, level=0.8)
    assert relaxed.ratio == pytest.approx(1.1), "the ratio must allow for a model whose captions do not help"
    assert relaxed.far == pytest.approx(9.9), "the model's own images must not be unknown"


@pytest.fixture
def colors(colors: ColorBackbone) -> ColorBackbone:
    """The model of colored images, with a calibrated guard."""
    drawn = draw((40, 3, 8, 8), seed=3, purpose="own") * VARIANCE**0.5 + torch.tensor(COLORS["red"])[:, None, None]
    rows = guard_losses(colors, drawn, colors.embed(["red"]), level=0.7)
    harmed = {name: rows * (30 if item.severe else 4) for name, item in CORRUPTIONS.items()}
    store_calibration(colors.fingerprint, {GUARD: to_plain(Guard.from_losses(rows, harmed, level=0.7))})
    return colors


def image(color: str, *, spread: float = VARIANCE**0.5, seed: int = 7) -> Image.Image:
    """An 8 x 8 image of noise around a color."""
    values = torch.tensor(COLORS[color])[:, None, None] + spread * draw((3, 8, 8), seed=seed, purpose="image")
    return Image.fromarray(values.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(1, 2, 0).numpy())


def test_similar_images_are_known_and_distant_ones_are_not(colors: ColorBackbone) -> None:
    images = [image("red"), image("red", spread=0.35), image("red", spread=5.0)]
    latent = encode(colors, images, captioner=ColorReader(colors))
    with colors.count() as cost:
        knowledge = check_familiarity(latent).knowledge
    assert [item.state for item in knowledge] == ["known", "doubtful", "unknown"]
    assert [bool(item.doubts) for item in knowledge] == [False, True, True]
    assert [item.evaluations for item in knowledge] == [6, 6, 6]
    assert cost.evaluations == 18
    assert all(item.caption_fits and item.caption_read for item in knowledge[:2])


def test_wrong_captions_and_missing_subjects_are_reported(
    colors: ColorBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    (familiarity,) = check_familiarity(encode(colors, image("red"), source_prompt="blue")).knowledge
    assert (familiarity.state, familiarity.caption_fits, familiarity.caption_read) == ("known", False, False)
    assert familiarity.evaluations == 8
    assert "does not fit" in familiarity.doubts[0]
    (other_caption,) = check_familiarity(encode(colors, image("red"), source_prompt="red indeed")).knowledge
    assert other_caption.caption_fits
    assert not other_caption.caption_read
    no_subject = SimpleNamespace(sees=lambda images: [False] * len(images))  # a framer that finds no subject
    monkeypatch.setattr("latentedit.encoding.familiarity.framer_for", lambda _: no_subject)
    (familiarity,) = check_familiarity(encode(colors, image("red"), source_prompt="red")).knowledge
    assert (familiarity.state, familiarity.reason) == ("unknown", "subject")
    losses = [torch.full((1, 3, 8, 8), loss) for loss in (0.05, 0.019, 0.5)]  # lower without the caption, at one level
    monkeypatch.setattr("latentedit.encoding.familiarity.denoising_errors", lambda *_: losses)
    (familiarity,) = check_familiarity(encode(colors, image("red"), source_prompt="red")).knowledge
    assert not familiarity.caption_fits


def test_an_image_is_read_once(colors: ColorBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    batch_sizes, caption = list[int](), ColorReader.caption

    def counting_caption(reader: ColorReader, pixels: Tensor) -> list[str]:
        batch_sizes.append(len(pixels))
        return caption(reader, pixels)

    monkeypatch.setattr(ColorReader, "caption", counting_caption)
    latent = encode(colors, [image("red"), image("blue")])
    assert all(item.caption_read for item in check_familiarity(latent).knowledge)
    assert batch_sizes == [2]
    assert latent.knowledge, "stored with the latent, but not under another caption"
    assert not any(item.caption_read for item in check_familiarity(latent.with_prompt("green")).knowledge)
    assert batch_sizes == [2]
    check_familiarity(encode(colors, image("red"), source_prompt="blue"))
    assert batch_sizes == [2, 1], "the user's caption is compared with the captioner's"


def test_the_guard_runs_once_and_only_with_images_and_a_calibration(colors: ColorBackbone) -> None:
    latent = check_familiarity(encode(colors, image("red"), source_prompt="red"))
    assert check_familiarity(latent) is latent
    without_images = dataclasses.replace(latent, frames=(), knowledge=())
    assert check_familiarity(without_images) is without_images
    colors.fingerprint = "another"
    uncalibrated = dataclasses.replace(latent, knowledge=())
    assert check_familiarity(uncalibrated) is uncalibrated
    with pytest.raises(ShapeError):
        dataclasses.replace(latent, knowledge=latent.knowledge * 2)


def test_an_instruction_is_judged_by_its_own_text_and_reference(colors: ColorBackbone) -> None:
    """The captioner's text has no reference images, which one batch with the instruction would need."""
    plain = encode(colors, image("red"), source_prompt="blue")
    instructed = dataclasses.replace(plain.condition, reference=(plain.z,))
    one, other = (check_familiarity(one).knowledge for one in (plain, dataclasses.replace(plain, condition=instructed)))
    assert one == other
    assert one[0].evaluations == 8


def test_edits_of_one_latent_pay_for_its_guard_once_and_share_its_losses(colors: ColorBackbone) -> None:
    """The guard looks at the verdict's level, 0.7 here: of its 4 evaluations before, 2 are known, and then 2 more."""
    latent, fresh = (encode(colors, image("red"), source_prompt="red") for _ in range(2))
    results = [Session(latent).edit(prompt="green", seed=seed)[0] for seed in (0, 0, 1)]
    (alone,) = Session(fresh).run(EditRequest(prompt="green", seed=1))[0]
    unread = encode(colors, image("red"), source_prompt="red")
    (unjudged,) = Session(unread).edit(prompt="green", verdict=False)
    with pytest.raises(UnknownImageError):
        edit(colors, image("red", spread=5.0), prompt="green", source_prompt="red", force=False, verdict=False)
    spent = [(one.cost.guard_evaluations, one.cost.verdict_evaluations) for one in results]
    assert spent == [(6, 6), (0, 6), (0, 8)]
    assert results[2].verdict == alone.verdict, "what was computed before must not change a verdict"
    assert results[0].knowledge == results[2].knowledge is not None
    assert (unjudged.cost.guard_evaluations, unjudged.cost.verdict_evaluations) == (0, 0)
    assert (unjudged.verdict.text, unjudged.knowledge) == ("not judged", None)
    assert unjudged.image == results[0].image


def test_calibrations_of_other_weights_are_ignored_and_damaged_ones_rejected(colors: ColorBackbone) -> None:
    file = calibration_file(colors.fingerprint)
    file.write_text(json.dumps({"fingerprint": "another", GUARD: {}}))
    assert calibration_of(colors) == {}
    file.write_text("{")
    with pytest.raises(FileFormatError):
        calibration_of(colors)
    file.unlink()
    colors.defaults = {"calibration": {"fingerprint": colors.fingerprint, "part": {"a": 1}}}
    assert calibration_of(colors)["part"] == {"a": 1}
    colors.defaults = {"calibration": {"fingerprint": colors.fingerprint, "part": 1}}
    with pytest.raises(FileFormatError):
        calibration_of(colors)


@pytest.fixture
def pixels() -> Tensor:
    return draw((2, 3, 16, 24), seed=0, purpose="corruptions").clamp(-1, 1)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions_change_the_image_and_keep_its_size(name: str, pixels: Tensor) -> None:
    result = CORRUPTIONS[name].apply(pixels)
    assert result.shape == pixels.shape
    assert not torch.equal(result, pixels)
    assert result.abs().max() <= 1 + 1e-6
    assert torch.allclose(CORRUPTIONS[name].apply(pixels[:1]), result[:1]), "the result depends on the batch"


@pytest.mark.parametrize(("name", "cells"), [("quarters exchanged", 2), ("shuffled", 4)])
def test_permutations_move_every_square(name: str, cells: int) -> None:
    numbered = torch.arange(cells * cells, dtype=torch.float32).reshape(1, 1, cells, cells).expand(1, 3, -1, -1)
    moved = CORRUPTIONS[name].apply(numbered.repeat_interleave(4, 2).repeat_interleave(4, 3))[0, 0, ::4, ::4]
    assert sorted(moved.flatten().tolist()) == list(range(cells * cells))
    assert not (moved == numbered[0, 0]).any()
    assert moved[0, -1] == 0, "losses of stored guards depend on this order"


def test_gray_removes_color_and_zoomed_shows_the_center_half(pixels: Tensor) -> None:
    assert torch.allclose(CORRUPTIONS["gray"].apply(pixels), pixels.mean(1, keepdim=True).expand_as(pixels))
    for gradient in (
        torch.linspace(-1, 1, 24).expand(1, 3, 16, 24),
        torch.linspace(-1, 1, 16)[:, None].expand(1, 3, 16, 24),
    ):
        zoomed = CORRUPTIONS["zoomed"].apply(gradient)
        assert (zoomed[0, 0, 0, 0], zoomed[0, 0, -1, -1]) == pytest.approx((-0.48, 0.48), abs=0.02)
