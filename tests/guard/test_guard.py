"""The guard's thresholds from losses, and what it says of images of a model with a closed form."""

import dataclasses
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from latentedit.core.errors import FileFormatError, ShapeError
from latentedit.core.rng import draw
from latentedit.core.settings import from_plain, to_plain
from latentedit.guard.guard import CORRUPTIONS, Guard, check_familiarity, guard_losses
from latentedit.latents.encode import encode
from latentedit.models.model_settings import GUARD, calibration_file, calibration_of, store_calibration
from tests.editors.colors import COLORS, VARIANCE, ColorBackbone, ColorReader


def guard(**other: Any) -> Guard:
    """Known up to a loss of .03 where the caption helps, unknown from .2 at the far level."""
    harmed = {name: [2.0 + index, 2.0 + index, 2.0 + index] for index, name in enumerate(CORRUPTIONS)}
    harmed["gray"] = [0.05, 0.05, 0.1]
    values = {"images": 9, "usual": 0.02, "known": 0.03, "ratio": 1.0, "empty": 0.06, "far": 0.2, "harmed": harmed}
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
def test_states_and_the_nearest_reason(row: tuple[float, ...], subject: bool, state: str, reason: str) -> None:
    assert guard().assess(row, subject=subject) == (state, reason)


def test_thresholds_are_quantiles_and_the_middle_between_mild_and_severe() -> None:
    near = torch.linspace(0.01, 0.02, 101).double()
    own = torch.stack([near, 2 * near, 3 * near])
    severe = ("upside down", "quarters exchanged", "shuffled")
    harmed = {name: torch.full((3, 5), 9.0 if name in severe else 1.0).double() for name in CORRUPTIONS}
    made = Guard.from_losses(own, harmed)
    assert made.images == 101
    assert made.usual == pytest.approx(0.015)
    assert made.known == pytest.approx(0.0198)
    assert made.ratio == 1
    assert made.far == pytest.approx(3.0)  # sqrt(1 * 9)
    assert from_plain(Guard, json.loads(json.dumps(to_plain(made)))) == made
    worse = Guard.from_losses(torch.stack([near, near / 1.1, 500 * near]), harmed)
    assert worse.ratio == pytest.approx(1.1), "a model whose captions do not help is not held to that"
    assert worse.far == pytest.approx(9.9), "what it draws itself is never unknown"


@pytest.fixture
def colors(register: Callable[..., None]) -> ColorBackbone:
    """The model of colored images, with its reader and a guard that fits it."""
    register("captioners", colors="tests.editors.colors:ColorReader")
    model = ColorBackbone()
    model.defaults = {"captioner": "colors"}
    own = draw((40, 3, 8, 8), seed=3, purpose="own") * VARIANCE**0.5 + torch.tensor(COLORS["red"])[:, None, None]
    rows = guard_losses(model, own, model.embed(["red"]))
    harmed = {name: rows * (30 if one.severe else 4) for name, one in CORRUPTIONS.items()}
    store_calibration(model.fingerprint, {GUARD: to_plain(Guard.from_losses(rows, harmed))})
    return model


def image(color: str, *, spread: float = VARIANCE**0.5, seed: int = 7) -> Image.Image:
    """Eight by eight pixels around a color."""
    values = torch.tensor(COLORS[color])[:, None, None] + spread * draw((3, 8, 8), seed=seed, purpose="image")
    return Image.fromarray(values.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(1, 2, 0).numpy())


def test_what_is_like_its_own_is_known_and_what_is_far_off_is_not(colors: ColorBackbone) -> None:
    images = [image("red"), image("red", spread=0.35), image("red", spread=5.0)]
    latent = encode(colors, images, captioner=ColorReader(colors))
    with colors.count() as cost:
        knowledge = check_familiarity(latent).knowledge
    assert [one.state for one in knowledge] == ["known", "doubtful", "unknown"]
    assert [bool(one.doubts) for one in knowledge] == [False, True, True]
    assert [one.evaluations for one in knowledge] == [6, 6, 6]
    assert cost.evaluations == 18
    assert all(one.caption_fits and one.caption_read for one in knowledge[:2])


def test_a_caption_that_does_not_fit_is_reported_and_a_missing_subject_makes_the_image_unknown(
    colors: ColorBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,) = check_familiarity(encode(colors, image("red"), source_prompt="blue")).knowledge
    assert (found.state, found.caption_fits, found.caption_read) == ("known", False, False)
    assert found.evaluations == 8
    assert "does not fit" in found.doubts[0]
    (again,) = check_familiarity(encode(colors, image("red"), source_prompt="red indeed")).knowledge
    assert again.caption_fits
    assert not again.caption_read
    blind = SimpleNamespace(sees=lambda images: [False] * len(images))  # a framer that sees no subject
    monkeypatch.setattr("latentedit.guard.guard.framer_for", lambda _: blind)
    (found,) = check_familiarity(encode(colors, image("red"), source_prompt="red")).knowledge
    assert (found.state, found.reason) == ("unknown", "subject")
    losses = torch.tensor([[0.05], [0.019], [0.5]]).double()  # lower without the caption, at the same level
    monkeypatch.setattr("latentedit.guard.guard.guard_losses", lambda *_: losses)
    (found,) = check_familiarity(encode(colors, image("red"), source_prompt="red")).knowledge
    assert not found.caption_fits


def test_an_image_is_read_once(colors: ColorBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    requested, caption = list[int](), ColorReader.caption

    def counted(reader: ColorReader, pixels: Tensor) -> list[str]:
        requested.append(len(pixels))
        return caption(reader, pixels)

    monkeypatch.setattr(ColorReader, "caption", counted)
    latent = encode(colors, [image("red"), image("blue")])
    assert all(one.caption_read for one in check_familiarity(latent).knowledge)
    assert requested == [2]
    assert not any(one.caption_read for one in check_familiarity(latent.with_prompt("green")).knowledge)
    assert requested == [2]
    check_familiarity(encode(colors, image("red"), source_prompt="blue"))
    assert requested == [2, 1], "the user's caption is compared with what is read"


def test_the_guard_runs_once_and_only_with_images_and_a_calibration(colors: ColorBackbone) -> None:
    latent = check_familiarity(encode(colors, image("red"), source_prompt="red"))
    assert check_familiarity(latent) is latent
    bare = dataclasses.replace(latent, frames=(), knowledge=())
    assert check_familiarity(bare) is bare
    colors.fingerprint = "another"
    strange = dataclasses.replace(latent, knowledge=())
    assert check_familiarity(strange) is strange
    with pytest.raises(ShapeError):
        dataclasses.replace(latent, knowledge=latent.knowledge * 2)


def test_a_calibration_of_other_weights_is_none_and_a_damaged_one_is_reported(colors: ColorBackbone) -> None:
    place = calibration_file(colors.fingerprint)
    place.write_text(json.dumps({"fingerprint": "another", GUARD: {}}))
    assert calibration_of(colors) == {}
    place.write_text("{")
    with pytest.raises(FileFormatError):
        calibration_of(colors)
    place.unlink()
    colors.defaults = {"calibration": {"fingerprint": colors.fingerprint, "part": {"a": 1}}}
    assert calibration_of(colors)["part"] == {"a": 1}
    colors.defaults = {"calibration": {"fingerprint": colors.fingerprint, "part": 1}}
    with pytest.raises(FileFormatError):
        calibration_of(colors)


@pytest.fixture
def pixels() -> Tensor:
    return draw((2, 3, 16, 24), seed=0, purpose="corruptions").clamp(-1, 1)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_gives_other_images_of_the_same_size(name: str, pixels: Tensor) -> None:
    made = CORRUPTIONS[name].apply(pixels)
    assert made.shape == pixels.shape
    assert not torch.equal(made, pixels)
    assert made.abs().max() <= 1 + 1e-6
    assert torch.allclose(CORRUPTIONS[name].apply(pixels[:1]), made[:1]), "neighbors do not matter"


@pytest.mark.parametrize(("name", "cells"), [("quarters exchanged", 2), ("shuffled", 4)])
def test_no_square_stays_and_none_is_lost(name: str, cells: int) -> None:
    numbered = torch.arange(cells * cells, dtype=torch.float32).reshape(1, 1, cells, cells).expand(1, 3, -1, -1)
    moved = CORRUPTIONS[name].apply(numbered.repeat_interleave(4, 2).repeat_interleave(4, 3))[0, 0, ::4, ::4]
    assert sorted(moved.flatten().tolist()) == list(range(cells * cells))
    assert not (moved == numbered[0, 0]).any()
    assert moved[0, -1] == 0, "calibrated guards hold losses of this order"


def test_gray_has_no_colors_and_the_zoom_shows_the_middle_half(pixels: Tensor) -> None:
    assert torch.allclose(CORRUPTIONS["gray"].apply(pixels), pixels.mean(1, keepdim=True).expand_as(pixels))
    for across in (
        torch.linspace(-1, 1, 24).expand(1, 3, 16, 24),
        torch.linspace(-1, 1, 16)[:, None].expand(1, 3, 16, 24),
    ):
        zoomed = CORRUPTIONS["zoomed"].apply(across)
        assert (zoomed[0, 0, 0, 0], zoomed[0, 0, -1, -1]) == pytest.approx((-0.48, 0.48), abs=0.02)
