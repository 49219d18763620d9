"""`edit`, `sweep`, `identify` and `manipulate`, with a model whose edits have a closed form."""

import dataclasses
import functools
import io
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.autograd import forward_ad

from latentedit.core.errors import (
    CaptionError,
    ConfigError,
    LatentEditError,
    LatentEditWarning,
    RegistryError,
    UnknownImageError,
)
from latentedit.editing.outputs import same_image
from latentedit.editing.replay import replay
from latentedit.editing.request import EditRequest
from latentedit.editing.session import Session
from latentedit.editing.verbs import PREVIEW_STRENGTHS, calibrate_direction, edit, identify, manipulate
from latentedit.editors import SDEdit
from latentedit.editors.eim import BELOW, BEYOND, EIM, WITHIN, Arm
from latentedit.editors.refinement import Refinement
from latentedit.encoding.captions.base import Captioner, PromptedCaptioner
from latentedit.encoding.captions.change import Change
from latentedit.encoding.encode import ChangeLike, encode
from latentedit.encoding.joint import Familiarity
from latentedit.geometry.paths import paths_between
from latentedit.geometry.pullback import local_basis
from latentedit.identification.direction import Direction
from latentedit.identification.hsds import HSDS
from tests.editing.test_undo import half_mask
from tests.editors.colors import ColorBackbone, ColorReader
from tests.editors.edits import gray, levels, noisy


def test_an_edit_moves_the_image_by_the_difference_of_the_captions(colors: ColorBackbone) -> None:
    """After annealing to the end, the change is the shift of the means: -1 in red and +1 in green, in [-1, 1]."""
    result = edit(colors, noisy(), prompt="green", method=EIM(search=HSDS(steps=64)), refine=False)
    change = np.asarray(result.image, dtype=float) - np.asarray(result.source, dtype=float)
    assert np.abs(change.mean(axis=(0, 1)) - 127.5 * np.array([-1, 1, 0])).max() < 2  # some pixels clip
    assert result.caption == "red"
    assert result.target_caption == "green"
    assert result.effect.read_before == {"color": "red"}
    assert result.effect.read_after == {"color": "green"}
    assert result.effect.changed_share == 1
    assert result.method == "eim"
    assert (result.verdict.word, result.notes) == ("done", ())
    assert (result.cost.evaluations, result.cost.verdict_evaluations) == (128, 8)
    assert result.cost.seconds > 0
    assert result.cost.peak_bytes > 1e6
    assert {"latentedit", "torch", "diffusers", "transformers", "python"} <= set(result.record.versions)


@pytest.mark.parametrize(
    ("method", "size", "mode"), [("eim", (37, 21), "RGBA"), ("flowedit", (37, 21), "RGBA"), ("sdedit", (8, 8), "RGB")]
)
def test_strength_0_is_the_original_bit_for_bit(
    colors: ColorBackbone, method: str, size: tuple[int, int], mode: str
) -> None:
    source = noisy(size=size, mode=mode)
    result = edit(colors, source, prompt="green", method=method, strength=0.0)
    assert same_image(result.image, source)
    assert result.cost.evaluations == 0
    changed = edit(colors, source, prompt="green", method=method)
    assert changed.image.size == source.size
    assert not same_image(changed.image, source)
    assert same_image(edit(colors, source, prompt="green", method=method).image, changed.image)


def test_settings_of_the_editor_are_keyword_arguments(colors: ColorBackbone) -> None:
    """The editor's names and those of diffusers are accepted, others are rejected."""
    settings: dict[str, Any] = {"num_inference_steps": 5, "guidance_scale": 2.5}
    result = edit(colors, noisy(), prompt="green", method="sdedit", level=0.7, **settings)
    assert result.record.recipe.settings == {**SDEdit().to_dict(), "level": 0.7, "steps": 5, "guidance": 2.5}
    swept = Session(encode(colors, noisy())).sweep(
        prompt="green", strengths=[1], method="sdedit", level=0.7, **settings
    )[0]
    assert same_image(swept[0].image, result.image)
    (found,) = edit(colors, noisy(), prompt="green", method="eim", **settings).record.directions
    assert (found.settings["steps"], found.settings["guidance"]) == (5, 2.5), "those of the search"
    with pytest.raises(ConfigError, match="'promt'"):
        edit(colors, noisy(), prompt="green", method="eim", **dict[str, Any]({"promt": 3}))


def test_a_list_of_images_of_any_shapes_is_edited_in_order() -> None:
    model = ColorBackbone(sizes=(4, 8, 12))
    images = [noisy(0), noisy(1, (40, 12)), noisy(2)]
    together = edit(model, images, prompt=["green", "blue", "gray"], source_prompt="red", seed=1)
    for source, target, result in zip(images, ("green", "blue", "gray"), together, strict=True):
        assert same_image(result.source, source)
        assert result.target_caption == target
        assert same_image(result.image, edit(model, source, prompt=target, source_prompt="red", seed=1).image)


def test_encode_identify_and_manipulate_equal_edit(colors: ColorBackbone, tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    noisy().save(path)
    latent = encode(colors, path)
    assert latent.captions == ("red",)
    direction = identify(latent, prompt="green", seed=3)
    assert direction.target_captions == ("green",)
    result = manipulate(latent, direction, strength=0.7)
    whole = edit(colors, str(path), prompt="green", strength=0.7, seed=3)
    assert same_image(result.image, whole.image)
    assert result.target_caption == "green"
    assert result.cost.evaluations == 0


@pytest.mark.slow_except("sdedit")
@pytest.mark.parametrize("way", ["image", "text", "joint", "eim", "flowedit", "sdedit"])
def test_a_sweep_equals_its_single_edits(colors: ColorBackbone, way: Any) -> None:
    """Along a direction by every arm, and towards a prompt by any editor."""
    latent, strengths = encode(colors, noisy()), [1.0, 0.0, 0.4, -0.2]
    along: dict[str, Any] = {"arm": way, "level": 0.5, "steps": 8}
    towards: dict[str, Any] = {"prompt": "green", "method": way, "seed": 3}
    if way in ("image", "text", "joint"):
        direction = identify(latent, prompt="green", seed=3)
        swept = Session(latent).sweep(direction, strengths=strengths, **along)[0]
        alone = [manipulate(encode(colors, noisy()), direction, strength=one, **along) for one in strengths]
    else:
        swept = Session(latent).sweep(strengths=strengths[:3], **towards)[0]
        alone = [edit(colors, noisy(), strength=one, **towards) for one in strengths[:3]]
        assert {result.method for result in swept} == {way}
    assert [result.strength for result in swept] == strengths[: len(alone)]
    for result, other in zip(swept, alone, strict=True):
        assert np.abs(levels(result.image) - levels(other.image)).max() <= 1  # rounding
        assert result.verdict.word == other.verdict.word
        assert result.verdict.share == pytest.approx(other.verdict.share, abs=1e-5)
        assert result.record == other.record or (way, result.strength) == ("eim", 0), "it searches no direction"
    assert same_image(swept[1].image, noisy())


def test_a_model_without_a_reader_needs_captions(colors: ColorBackbone) -> None:
    model = ColorBackbone()
    with pytest.raises(ConfigError):
        edit(model, noisy(), prompt="green")
    result = edit(model, noisy(), prompt="green", source_prompt="red")
    assert result.effect.read_before is None
    assert result.effect.read_after is None
    report = edit(colors, noisy(), prompt="mauve", source_prompt="blue", refine=False)
    assert (report.caption, report.notes) == ("blue", ("unknown color in 'mauve'",)), "a given caption has precedence"


def test_missing_forward_derivatives_are_noted_in_every_result(
    colors: ColorBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first product shows that the network has none; two reverse passes are used, with a note."""

    def refuse(*arguments: object) -> None:
        raise NotImplementedError("no tangent rule")

    monkeypatch.setattr(forward_ad, "make_dual", refuse)
    latent, search = encode(colors, noisy()), HSDS(gamma=0.5, steps=2)
    along = Session(latent).sweep(identify(latent, prompt="green", method=search), strengths=[0.5])[0]
    for result in (*along, edit(colors, noisy(), prompt="green", method=EIM(search=search), refine=False)):
        (note,) = result.notes
        assert "colors has no forward-mode derivatives (no tangent rule); used two reverse passes" in note
    quiet = edit(colors, noisy(), prompt="green", method=EIM(search=HSDS(steps=2)), refine=False)
    assert quiet.notes == ()


def test_equal_captions_have_no_direction(colors: ColorBackbone) -> None:
    latent = encode(colors, noisy())
    with pytest.raises(ConfigError):
        identify(latent, prompt="red")
    both = encode(colors, [noisy(1), noisy(2)])
    assert identify(both, prompt=["red", "green"]).length.count_nonzero() == 1  # one of two may stay
    result = edit(colors, noisy(), prompt="red")
    assert same_image(result.image, noisy())
    assert result.verdict.word == "not done"
    assert "the two captions mean the same" in result.verdict.reason


SCENE = "gray room, a hat"


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"prompt": ["green", "blue"]}, "one image takes one `prompt`.*`sweep`"),
        ({"prompt": "red", "progress": lambda: None}, "`progress` is a function"),
        ({"prompt": "red", "progress": "tqdm"}, "`progress` is a function"),
        ({"prompt": "red", "method": {"steps": 2}}, "`method`"),
        ({"change": "blue => red"}, "'blue'"),
        ({"prompt": "red", "mask": Image.new("L", (12, 8), 255)}, "12x8"),
    ],
)
def test_invalid_edits_are_rejected_without_evaluations(
    colors: ColorBackbone, wanted: dict[str, Any], words: str
) -> None:
    with colors.count() as counted, pytest.raises(LatentEditError, match=words):
        edit(colors, gray(), source_prompt=SCENE, **wanted)
    assert counted.evaluations == 0


@pytest.mark.parametrize(
    ("wanted", "words"),
    [({"method": kind}, "HSDS") for kind in ("hsds", {"steps": 2}, HSDS)]
    + [({"progress": lambda _: None}, "progress")],
)
def test_invalid_searches_are_rejected_without_evaluations(
    colors: ColorBackbone, wanted: dict[str, Any], words: str
) -> None:
    latent = encode(colors, gray(), source_prompt=SCENE)
    ways: list[Any] = [latent, Session(latent)]
    for way in ways:
        find = functools.partial(identify, way) if way is latent else way.identify
        with colors.count() as counted, pytest.raises(ConfigError, match=words):
            find(prompt="red", **wanted)
        assert counted.evaluations == 0


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"strengths": []}, "strength"),
        ({"strengths": [0.5, math.nan]}, "finite"),
        ({"direction": None, "prompt": "red", "method": "flowslider", "arm": "text"}, "`arm`"),
        ({"direction": None}, "edit"),
    ],
)
def test_invalid_sweeps_are_rejected(colors: ColorBackbone, wanted: dict[str, Any], words: str) -> None:
    latent = encode(colors, gray(), source_prompt=SCENE)
    found: dict[str, Any] = {"direction": identify(latent, change="gray => red"), "strengths": [1.0]}
    with pytest.raises(ConfigError, match=words):
        Session(latent).sweep(**(found | wanted))
    with pytest.raises(ConfigError):
        manipulate(latent, [found["direction"]] * 2, strength=[1.0, 0.5, 0.2])
    with pytest.raises(ConfigError, match="one `strength`"):
        Session(latent).sweep(change=["gray => red", "=> a scarf"], strength=[1.0, 0.5], strengths=[1.0])


@pytest.mark.slow_except("gray => red-red room, a hat")
@pytest.mark.parametrize(
    ("change", "target"),
    [
        ("gray => red", "red room, a hat"),
        (["gray room => red room", "=> a scarf", "hat => cap"], "red room, a cap, a scarf"),
        (Change(old="gray", new="red"), "red room, a hat"),
    ],
)
def test_a_change_equals_its_target_caption(
    colors: ColorBackbone, change: ChangeLike | list[ChangeLike], target: str
) -> None:
    latent = encode(colors, gray(), source_prompt=SCENE)
    found, expected = identify(latent, change=change, seed=2), identify(latent, prompt=target, seed=2)
    assert found.target_captions == (target,)
    assert found.fingerprint == expected.fingerprint
    both = encode(colors, [gray(1), gray(2)], source_prompt=[SCENE, "a dog, gray"])
    assert identify(both, change="gray => red").target_captions == ("red room, a hat", "a dog, red")


@pytest.mark.parametrize(("method", "size", "mode"), [("eim", (8, 8), "RGB"), ("flowedit", (37, 21), "RGBA")])
def test_pixels_outside_a_mask_are_unchanged(
    colors: ColorBackbone, method: str, size: tuple[int, int], mode: str
) -> None:
    source = gray(1, size, mode)
    result = edit(colors, source, prompt="red", source_prompt="gray", method=method, mask=half_mask(size))
    moved = np.abs(levels(result.image) - levels(source))
    assert moved[:, size[0] // 2 :].max() == 0
    assert moved[:, : size[0] // 2, 0].mean() > 30
    assert result.record.image.mask is not None
    whole = edit(colors, source, prompt="red", source_prompt="gray", method=method)
    assert whole.record.image.mask is None
    assert np.abs(levels(whole.image) - levels(source))[:, size[0] // 2 :].max() > 30


class Blind(ColorReader):
    """A captioner with one caption for every image."""

    text = "gray"

    def caption(self, pixels: torch.Tensor) -> list[str]:
        return [self.text] * len(pixels)


def test_a_captioner_is_used_without_a_given_caption(colors: ColorBackbone) -> None:
    for captioner, caption in ((Blind(colors), "gray"), (None, "red")):
        assert edit(colors, noisy(), prompt="green", captioner=captioner).caption == caption
    assert edit(colors, noisy(), prompt="green", captioner=Blind(colors), source_prompt="blue").caption == "blue"
    with pytest.raises(RegistryError):
        edit(colors, noisy(), prompt="green", captioner="color")
    silent = Blind(colors)
    silent.text = ""
    with pytest.raises(ConfigError):
        edit(colors, noisy(), prompt="green", captioner=silent)


@pytest.mark.slow_except("size1-RGB-False-1.0")
@pytest.mark.parametrize("strength", [1.0, 0.3])
@pytest.mark.parametrize("local", [True, False])
@pytest.mark.parametrize(("size", "mode"), [((37, 21), "RGBA"), ((5, 30), "RGB")])
def test_the_reverse_edit_restores_the_image(
    colors: ColorBackbone, size: tuple[int, int], mode: str, local: bool, strength: float
) -> None:
    """Bit for bit, even where the edited image is clipped, because the latent is edited and not the file."""
    source = noisy(4, size, mode)
    if mode == "RGBA":  # mostly opaque, so that most of the change is seen
        alpha = 128 + np.asarray(source)[..., 3] // 2
        alpha[0] = 0
        source.putalpha(Image.fromarray(alpha))
    latent = encode(colors, source, source_prompt="red")
    direction = identify(latent, prompt="green")
    there = manipulate(latent, direction, strength=strength, auto_mask=local)
    assert not same_image(there.image, source)
    back = manipulate(there.latent, direction, strength=-strength, auto_mask=local)
    assert same_image(back.image, source)
    assert (back.caption, back.target_caption) == ("green", "red")
    assert back.latent.captions == ("red",)
    assert not any("clamped" in note for note in back.notes)
    assert back.record.before == there.record
    assert back.record.directions[0].strength == -1


def test_a_direction_without_captions_can_be_reversed(colors: ColorBackbone) -> None:
    """The records of the latent show that it was applied, so that its strength is not limited."""
    latent = encode(colors, gray(), source_prompt="gray")
    direction = dataclasses.replace(identify(latent, prompt="red"), source_captions=(), target_captions=())
    there = manipulate(latent, direction, strength=0.75)
    opposite = manipulate(latent, direction, strength=-0.75)
    assert any("clamped" in note for note in opposite.notes)
    half = manipulate(there.latent, direction, strength=-0.5)
    assert half.notes == ()
    assert torch.allclose(half.latent.z, latent.z + 0.25 * direction.z, atol=1e-6)
    back = manipulate(half.latent, direction, strength=-0.25)
    assert same_image(back.image, gray())
    further = manipulate(back.latent, direction, strength=-0.75)
    assert any("clamped" in note for note in further.notes)
    assert torch.allclose(further.latent.z, opposite.latent.z, atol=1e-6)


def test_an_unknown_image_is_rejected_without_force(
    colors: ColorBackbone, unknown_images: Callable[..., Familiarity]
) -> None:
    unknown_images(number=9.5, reason="style")
    with colors.count() as cost, pytest.raises(UnknownImageError, match=r"9\.5"):
        edit(colors, noisy(), force=False, prompt="green")
    assert cost.evaluations == 0


def test_an_unknown_image_is_named_where_nothing_is_edited(
    colors: ColorBackbone, unknown_images: Callable[..., Familiarity]
) -> None:
    unknown_images(number=9.5, reason="style")
    latent, both = encode(colors, noisy(), source_prompt="gray"), encode(colors, [noisy(), gray()], source_prompt="")
    with pytest.warns(LatentEditWarning, match=r"9\.5"):
        local_basis(latent, site="clean", rank=1, steps=2)
    with pytest.warns(LatentEditWarning, match=r"9\.5"):
        paths_between(both, site="clean", methods=["lerp"], rank=1, frames=3, steps=2)


def test_an_unknown_image_is_edited_with_a_warning_and_its_own_verdict(
    colors: ColorBackbone, unknown_images: Callable[..., Familiarity]
) -> None:
    knowledge = unknown_images(reason="style", caption_fits=True)
    with pytest.warns(LatentEditWarning, match="style") as warned:
        result = edit(colors, noisy(), prompt="green")
    assert {one.filename for one in warned} == {__file__}
    assert result.knowledge == knowledge
    assert result.verdict.word == "not known"
    assert result.notes[:2] == knowledge.doubts
    assert result.measures["knowledge"] == knowledge
    for state, notes in (("doubtful", 2), ("known", 0)):
        unknown_images(state=state, caption_fits=True)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", LatentEditWarning)
            other = edit(colors, noisy(), prompt="green", force=False, refine=False)
        assert (other.verdict.word, len(other.notes)) == ("done", notes)
        assert [str(one.message) for one in warned] == list(other.notes)
        assert ("doubtful" in other.verdict.reason) is (state == "doubtful")
    after = Session(result.latent).run(EditRequest(prompt="blue"))[0][0]
    assert after.verdict.word == "not known", "edits of an unknown image are unknown as well"
    assert after.cost.guard_evaluations == 0


SIZE = (300, 150)


@pytest.mark.parametrize("arm", [None, "joint"])
def test_a_stored_direction_is_the_calibrated_mean_of_its_images(colors: ColorBackbone, arm: Arm | None) -> None:
    """Its preview has three panels of 128 pixels: the first image without the change, with half, and with all of it."""
    latent = encode(colors, [gray(1, SIZE), gray(2, SIZE)], source_prompt="gray")
    direction = identify(latent, prompt=["red", "blue"], seed=3)
    kept = calibrate_direction(latent, direction, arm=arm, license="CC0-1.0")
    assert torch.equal(kept.z, direction.z.mean(0, keepdim=True))
    assert torch.equal(kept.condition.tokens, direction.condition.tokens.mean(0, keepdim=True))
    assert (kept.license, kept.target_captions, kept.images) == ("CC0-1.0", ("red", "blue"), direction.images)
    known = kept.calibration
    assert known is not None
    assert (known.arm, known.scales) == (arm or "image", (*BELOW, 0.0, *WITHIN, *BEYOND))
    assert known.effects[known.scales.index(1.0)] == pytest.approx(1)
    assert known.lowest <= 1e-9
    assert known.highest >= 1 - 1e-9
    if arm is not None:
        return
    first, mean = encode(colors, gray(1, SIZE), source_prompt="gray"), dataclasses.replace(kept, source_captions=())
    panels = np.split(preview(kept), 3, axis=1)
    for panel, strength in zip(panels, PREVIEW_STRENGTHS, strict=True):
        image = manipulate(first, mean, strength=strength).image
        image.thumbnail((128, 128), Image.Resampling.LANCZOS)
        assert np.abs(panel - levels(image)).max() <= 1
    assert np.abs(panels[0] - panels[2]).max() > 20


def test_a_preview_of_a_small_image_has_its_size_and_a_white_background(colors: ColorBackbone) -> None:
    source = gray(1, (20, 10), "RGBA")
    source.putalpha(0)
    latent = encode(colors, source, source_prompt="gray")
    shown = preview(calibrate_direction(latent, identify(latent, prompt="red")))
    assert shown.shape[:2] == (10, 60)
    assert (shown == 255).all()


def preview(direction: Direction) -> np.ndarray:
    with Image.open(io.BytesIO(direction.preview), formats=["PNG"]) as image:
        return levels(image.convert("RGB"))


class Describes(ColorReader):
    """Describes every image in the same words."""

    def caption(self, pixels: torch.Tensor) -> list[str]:
        return ["a wall with a window, blue paint"] * len(pixels)


def test_partial_captions_are_completed_from_the_image(colors: ColorBackbone) -> None:
    """The given words stay, both captions get the same phrases, and replaying needs no captioner."""
    image, words = noisy(), {"source_prompt": "red", "prompt": "green"}
    result = edit(colors, image, captioner=Describes(colors), **words)
    assert (result.caption, result.target_caption) == (
        "red with a window, blue paint",
        "green with a window, blue paint",
    )
    assert result.completion is not None
    assert result.completion.added == ("a window", "blue paint")
    assert replay(result.record, colors, image)[0].record == result.record
    given = edit(colors, image, captioner=Describes(colors), complete=False, **words)
    assert (given.caption, given.completion) == ("red", None)


class Chats(PromptedCaptioner):
    """Gives one answer, and keeps the prompts."""

    def __init__(self, answer: str) -> None:
        self.text, self.prompts = answer, list[str]()

    def answer(self, image: Image.Image, prompt: str) -> str:
        self.prompts.append(prompt)
        return self.text


def test_a_captioner_writes_both_captions_of_an_instruction(colors: ColorBackbone) -> None:
    """The edit is that of the two captions, and replaying it needs no captioner."""
    chats, image = Chats("**SOURCE:** 'red with a window.'\n**TARGET:** green with a window\n"), noisy()
    result = edit(colors, image, instruction=["make it green", "be quick"], captioner=chats)
    assert (result.caption, result.target_caption) == ("red with a window", "green with a window")
    assert len(chats.prompts) == 1
    assert "'make it green, be quick'" in chats.prompts[0]
    assert not [note for note in result.notes if "captioner" in note]
    given = edit(colors, image, result.target_caption, source_prompt=result.caption, complete=False)
    assert same_image(result.image, given.image)
    assert replay(result.record, colors, image)[0].record == result.record
    both = edit(colors, [image, image], instruction="make it green", captioner=chats)
    assert [one.target_caption for one in both] == ["green with a window"] * 2


def test_phrases_that_a_captioner_rewords_are_named(colors: ColorBackbone) -> None:
    chats = Chats("SOURCE: red, a window, a door\nTARGET: green, one window, a door")
    result = edit(colors, noisy(), instruction="make it green", captioner=chats)
    (note,) = (note for note in result.notes if "captioner" in note)
    assert "red, a window => green, one window" in note


@pytest.mark.parametrize(
    ("captioner", "error"),
    [
        (Chats("I cannot see images."), CaptionError),
        (Chats("SOURCE: red, a window\nTARGET: Red, a window"), CaptionError),
        (Chats("SOURCE: \nTARGET: green"), CaptionError),
    ],
)
def test_answers_without_two_captions_are_refused(
    colors: ColorBackbone, captioner: Captioner, error: type[Exception]
) -> None:
    with pytest.raises(error):
        edit(colors, noisy(), instruction="make it green", captioner=captioner)


def test_a_captioner_that_follows_no_request_is_refused(colors: ColorBackbone) -> None:
    with pytest.raises(ConfigError, match="Describes"):
        edit(colors, noisy(), instruction="make it green", captioner=Describes(colors))


@pytest.mark.slow_except("eim-0.4")
@pytest.mark.parametrize(("way", "strength"), [("eim", 1.0), ("eim", 0.4), ("flowedit", 0.4)])
def test_a_refined_edit_is_recorded_and_replayed(
    colors: ColorBackbone, monkeypatch: pytest.MonkeyPatch, way: str, strength: float
) -> None:
    """The colors change everywhere, which the default refinement would not affect."""
    everywhere = functools.partial(Refinement, widest=1.0)
    monkeypatch.setattr("latentedit.editors.refinement.Refinement", everywhere)
    words: dict[str, Any] = {"prompt": "green", "method": way, "strength": strength, "seed": 3}
    plain, refined = (edit(colors, noisy(), refine=refine, **words) for refine in (False, True))
    assert (plain.record.recipe.refine, refined.record.recipe.refine) == (False, True)
    assert refined.record.evaluations > plain.record.evaluations
    assert not same_image(plain.image, refined.image)
    usual = edit(colors, noisy(), **words)
    assert usual.record == (refined if way == "eim" else plain).record
    moved = manipulate(encode(colors, noisy()), identify(encode(colors, noisy()), prompt="green"))
    assert not moved.record.recipe.refine
    (again,) = replay(refined.record, colors, noisy())
    assert again.record == refined.record
    assert same_image(again.image, refined.image)
