"""Models that edit an image by an instruction: every such family, with its miniature."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import latentedit as le
from latentedit.calibration import Calibration, GuardCalibration, calibrate
from latentedit.core.errors import ConfigError, ShapeError
from latentedit.editing.replay import replay
from latentedit.editors.base import make_editor
from latentedit.encoding.no_change import LEVELS, NO_CHANGE_WORDINGS, no_change, no_change_residuals
from latentedit.models.base import Backbone
from latentedit.models.model_settings import VARIABLE
from latentedit.numerics.rng import draw
from tests.miniatures.flow import flux, flux2_klein, flux3, qwen_image, qwen_image21
from tests.testing.tolerances import relative_error

SETTINGS: dict[str, Any] = {"sizes": [64, 64, 96], "editors": {"eim": {"steps": 2, "search": {"steps": 2}}}}
FAMILIES: dict[str, Callable[[], Any]] = {
    "kontext": lambda: flux(kontext=True),
    "flux2": flux2_klein,
    "qwen-edit": lambda: qwen_image("edit"),
    "qwen-plus": lambda: qwen_image("plus"),
    "flux3": flux3,
    "qwen21": qwen_image21,
}
EACH_KIND = pytest.mark.parametrize("model", ["kontext", "qwen-plus"], indirect=True)
"""One family whose network sees the image, and one whose text encoder sees it too."""

HAT = "add a hat"


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest) -> Backbone:
    return le.from_pipeline(FAMILIES[request.param](), settings=SETTINGS)


def flat_photo(width: int = 64, height: int = 64) -> Image.Image:
    rows, columns = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([rows * 2, columns * 2, rows + columns], axis=-1).astype(np.uint8))


@pytest.mark.slow_except("qwen-plus")
def test_an_instructed_encoding_has_the_image_and_a_wording_of_no_change(model: Backbone) -> None:
    """At its own size and framing, unlike in the stock pipeline."""
    latent = le.encode(model, flat_photo(96, 64))
    assert latent.instructed
    assert latent.captions == (NO_CHANGE_WORDINGS[0],)
    assert latent.condition.reference is not None
    assert torch.equal(latent.condition.reference[0], latent.z)
    assert torch.equal(latent.condition.tokens, model.embed([NO_CHANGE_WORDINGS[0]]).tokens)
    with pytest.raises(ConfigError):
        le.identify(latent, prompt="a man")
    described = le.encode(model, flat_photo(), source_prompt="a wall")
    assert described.condition.reference is None


@pytest.mark.slow_except("qwen-plus")
@EACH_KIND
def test_a_model_of_instructions_that_is_given_a_prompt_names_the_instruction(model: Backbone) -> None:
    """The call of diffusers; what was typed is the instruction, and a caption is the second choice."""
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: le.edit(model, flat_photo(), HAT), HAT),
        (lambda: le.sweep(model, flat_photo(), prompt=HAT), HAT),
        (lambda: le.edit(model, flat_photo(), change="a cap => a hat"), "replace a cap by a hat"),
        (lambda: le.edit(model, [flat_photo()] * 2, remove="hat"), "remove hat"),
        (lambda: le.identify(le.encode(model, flat_photo()), prompt=HAT), HAT),
    ]
    for call, words in calls:
        with model.count() as cost, pytest.raises(ConfigError, match=f'`instruction="{words}"`.*`source_prompt`'):
            call()
        assert cost.evaluations == 0
    assert le.edit(model, flat_photo(), HAT, source_prompt="a wall", method="sdedit", steps=1, complete=False).image


@pytest.mark.parametrize(
    ("model", "method"),
    [
        *(pytest.param("kontext", name, marks=pytest.mark.nightly) for name in ("flowslider", "veloedit", "eim")),
        *(pytest.param(name, "velocity-steering", marks=pytest.mark.nightly) for name in list(FAMILIES)[:-1]),
        ("qwen21", "velocity-steering"),
    ],
    indirect=["model"],
)
def test_editors_and_families_follow_instructions(model: Backbone, method: str) -> None:
    """Strength 0 is the image, bit for bit; strengths differ; results are replayed from their records."""
    editor: Any = make_editor(method, model)
    editor = dataclasses.replace(editor, steps=2, **({"probes": 0} if method == "velocity-steering" else {}))
    none, half, whole = (
        le.edit(model, flat_photo(), instruction=HAT, method=editor, strength=strength) for strength in (0.0, 0.5, 1.0)
    )
    assert np.array_equal(np.asarray(none.image), np.asarray(flat_photo()))
    assert (whole.caption, whole.target_caption) == (NO_CHANGE_WORDINGS[0], HAT)
    assert relative_error(half.latent.z, whole.latent.z) > 1e-4
    (again,) = replay(whole.record, model, flat_photo())
    assert np.array_equal(np.asarray(again.image), np.asarray(whole.image))
    assert again.record == whole.record


@pytest.mark.slow_except("kontext")
def test_every_family_runs_without_its_image_for_image_guidance(model: Backbone) -> None:
    """``v(c) + t (v(c, I) - v(c))``."""
    latent, s = le.encode(model, flat_photo()), torch.tensor([0.6])
    z = draw(tuple(latent.z.shape), seed=2, purpose="z")
    seen, without = (model.velocity(z, s, text) for text in (latent.condition, latent.condition.words))
    guided = model.velocity(z, s, latent.condition.guided_by_image(1.5))
    assert relative_error(guided, without + 1.5 * (seen - without)) <= 1e-5
    assert relative_error(seen, without) > 1e-4


@EACH_KIND
def test_image_guidance_doubles_the_evaluations_of_an_edit(model: Backbone) -> None:
    stock, report = (
        le.edit(model, flat_photo(), instruction=HAT, method="sdedit", level=0.7, steps=2, image_guidance_scale=weight)
        for weight in (1.0, 1.5)
    )
    assert report.cost.evaluations == report.record.evaluations == 2 * stock.record.evaluations
    assert report.cost.verdict_evaluations == stock.cost.verdict_evaluations
    assert relative_error(report.latent.z, stock.latent.z) > 1e-4
    found = le.edit(model, flat_photo(), instruction=HAT, image_guidance=1.5)  # along a direction
    for edit in (report, found):
        (again,) = replay(edit.record, model, flat_photo())
        assert np.array_equal(np.asarray(again.image), np.asarray(edit.image))
        assert again.record == edit.record


@pytest.mark.nightly
@EACH_KIND
def test_a_following_edit_sees_the_edited_image(model: Backbone) -> None:
    """Two edits in a row: the second changes the result of the first, and its record contains both."""
    session = le.Session(le.encode(model, flat_photo()))
    (first,) = session.manipulate(session.identify(instruction=HAT))
    assert first.latent.condition.reference is not None
    assert torch.equal(first.latent.condition.reference[0], first.latent.z)
    assert first.latent.captions == (NO_CHANGE_WORDINGS[0],)
    following = le.Session(first.latent)
    (second,) = following.manipulate(following.identify(instruction="make it red"))
    (again,) = replay(second.record, model, flat_photo())
    assert np.array_equal(np.asarray(again.image), np.asarray(second.image))


@pytest.mark.nightly
@EACH_KIND
def test_a_direction_of_an_instruction_applies_to_other_images(model: Backbone, tmp_path: Path) -> None:
    """It depends on no image, is rejected for captions, and can be combined with others."""
    latent = le.encode(model, flat_photo())
    found = le.identify(latent, instruction=HAT)
    assert found.instructed
    assert found.condition.reference is None
    found.save(tmp_path / "hat.safetensors")
    kept = le.Direction.load(tmp_path / "hat.safetensors")
    other = flat_photo().transpose(Image.Transpose.ROTATE_180)
    report = le.edit(model, other, direction=kept, strength=0.5)
    assert report.record.instructed
    both = le.edit(model, other, instruction=[HAT, "make it red"], strength=[1.0, 0.5])
    assert len(both.record.directions) == 2
    assert both.target_caption == f"{HAT}, make it red"
    with pytest.raises(ConfigError):
        le.manipulate(le.encode(model, other, source_prompt="a wall"), kept)


@pytest.mark.nightly
def test_reference_images_are_seen_by_models_that_take_them(model: Backbone) -> None:
    other = flat_photo(96, 64)
    if model.capabilities.references == 1:
        with pytest.raises(ConfigError):
            le.encode(model, flat_photo(), references=[other])
        return
    session = le.Session(le.encode(model, flat_photo(), references=[other]))
    (shown,) = session.manipulate(session.identify(instruction=HAT))
    alone = le.edit(model, flat_photo(), instruction=HAT)
    assert relative_error(shown.latent.z, alone.latent.z) > 1e-4
    (again,) = replay(shown.record, model, flat_photo(), references=[other])
    assert np.array_equal(np.asarray(again.image), np.asarray(shown.image))
    with pytest.raises(ConfigError):
        le.edit(model, flat_photo(), change="a wall => a door", source_prompt="a wall", references=[other])
    with pytest.raises(ConfigError):
        replay(shown.record, model, flat_photo())


@pytest.mark.nightly
@EACH_KIND
def test_the_wording_of_no_change_is_measured_and_stored(
    model: Backbone, tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mean square distance from ``e - x``, written out for one wording; the smallest is stored for the model."""
    latent = le.encode(model, flat_photo())
    found = no_change_residuals(model, latent.z)
    assert list(found) == list(NO_CHANGE_WORDINGS)
    noise, z = draw((len(LEVELS), *latent.z.shape), seed=0, purpose="no change"), latent.z
    condition = dataclasses.replace(model.embed([NO_CHANGE_WORDINGS[0]]), reference=(z,))
    moved = (
        model.velocity((1 - s) * z + s * e, torch.tensor([s]), condition) for s, e in zip(LEVELS, noise, strict=True)
    )
    expected = sum(float((v - (e - z)).square().mean()) for v, e in zip(moved, noise, strict=True))
    assert found[NO_CHANGE_WORDINGS[0]] == pytest.approx(expected / 3, rel=1e-5)
    environment[VARIABLE] = str(tmp_path)
    monkeypatch.setattr(model, "fingerprint", "0123456789abcdef")
    assert no_change(model) == NO_CHANGE_WORDINGS[0]
    Calibration(fingerprint=model.fingerprint, no_change={"a": 0.5, "b": 0.25}).save()
    assert no_change(model) == "b"
    sizes = GuardCalibration(steps=1)
    calibrate(model, captions=["a wall"], parts=["no_change"], guard_sizes=sizes).save()
    assert no_change(model) in NO_CHANGE_WORDINGS


def test_models_of_captions_take_no_instructions() -> None:
    dev = le.from_pipeline(flux(), settings=SETTINGS)
    assert calibrate(dev, parts=["no_change"]).no_change is None
    with pytest.raises(ConfigError):
        le.edit(dev, flat_photo(), instruction=HAT)
    z = torch.zeros(1, *dev.latent_shape(64, 64))
    report = dataclasses.replace(dev.embed([HAT]), reference=(z,))
    with pytest.raises(ShapeError):
        dev.velocity(z, torch.tensor([0.5]), report)
