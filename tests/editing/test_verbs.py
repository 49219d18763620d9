"""The front door, on a model of coloured pictures whose edits have a closed form."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import latentedit as le
from latentedit.directions.base import Direction
from latentedit.directions.hsds import HSDS
from latentedit.editing.eim import EIM
from latentedit.editing.registry import editor_names
from latentedit.editing.sdedit import SDEdit
from latentedit.editing.verbs import edit, identify, manipulate, sweep
from latentedit.encoding.encode import encode
from latentedit.encoding.images import Picture
from latentedit.errors import ConfigError, ImageError, LatentEditError, ModelError, RegistryError
from tests.editing.colours import ColourBackbone

METHODS = ["eim", "sdedit", "inversion", "aligned-inversion", "flowedit", "flowslider"]


def picture(seed: int = 0, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Image.Image:
    """A noisy red picture."""
    noise = np.random.default_rng(seed).normal(0, 8, (size[1], size[0], 3))
    image = Image.fromarray((np.array([200, 76, 76]) + noise).clip(0, 255).astype(np.uint8)).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(np.random.default_rng(seed).integers(1, 255, size[::-1], dtype=np.uint8)))
    return image


def same(first: Image.Image, second: Image.Image) -> bool:
    return first.mode == second.mode and np.array_equal(np.asarray(first), np.asarray(second))


def test_the_front_door_is_the_verbs() -> None:
    assert le.edit is edit
    assert le.encode is encode
    assert le.identify is identify
    assert le.manipulate is manipulate
    assert le.sweep is sweep


def test_an_edit_moves_the_picture_by_the_difference_of_the_texts(colours: ColourBackbone) -> None:
    """Annealed to the end, the change is the shift of the means: -1 in red and +1 in green on the scale of [-1, 1]."""
    result = edit(colours, picture(), to="green", method=EIM(search=HSDS(steps=64)))
    assert not isinstance(result, list)
    change = np.asarray(result.image, dtype=float) - np.asarray(result.source, dtype=float)
    assert np.abs(change.mean(axis=(0, 1)) - 127.5 * np.array([-1, 1, 0])).max() < 2  # some pixels clip
    assert result.caption == "red"
    assert result.target_caption == "green"
    assert result.effect.read_before == {"colour": "red"}
    assert result.effect.read_after == {"colour": "green"}
    assert result.effect.changed_share == 1
    assert result.method == "eim"
    assert result.measured_strength == 1
    assert result.verdict.word == "changed"
    assert result.notes == ()


def test_cost_and_record_say_what_was_done(colours: ColourBackbone) -> None:
    results = edit(colours, [picture(0), picture(1)], to="blue", seed=5, strength=0.5)
    assert isinstance(results, list)
    for result in results:
        assert result.cost.evaluations == 48  # the model's stored 24 steps
        assert result.cost.verdict_evaluations == 8
        assert result.measured_strength == 0.5
        assert result.cost.seconds > 0
        assert result.cost.peak_bytes > 1e6
        assert result.record.seed == 5
        assert result.record.settings["search"]["steps"] == 24
        assert result.record.model == {"name": "colours", "fingerprint": "colours-1"}
        assert {"latentedit", "torch", "diffusers", "transformers", "python"} <= set(result.record.versions)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("size", "mode"), [((8, 8), "RGB"), ((37, 21), "RGBA")])
def test_strength_zero_is_the_file_bit_for_bit(
    colours: ColourBackbone, method: str, size: tuple[int, int], mode: str
) -> None:
    source = picture(size=size, mode=mode)
    result = edit(colours, source, to="green", method=method, strength=0.0)
    assert same(result.image, source)
    assert result.cost.evaluations == 0
    changed = edit(colours, source, to="green", method=method)
    assert changed.image.size == source.size
    assert not same(changed.image, source)
    assert same(edit(colours, source, to="green", method=method).image, changed.image)


def test_every_editor_is_registered() -> None:
    assert set(editor_names()) >= set(METHODS)


def test_a_list_comes_back_in_order_whatever_the_shapes() -> None:
    model = ColourBackbone(sizes=(4, 8, 12))
    pictures = [picture(0), picture(1, (40, 12)), picture(2)]
    together = edit(model, pictures, to=["green", "blue", "grey"], caption="red", seed=1)
    for source, target, result in zip(pictures, ("green", "blue", "grey"), together, strict=True):
        assert same(result.source, source)
        assert result.target_caption == target
        assert same(result.image, edit(model, source, to=target, caption="red", seed=1).image)


def test_the_steps_apart_are_the_edit(colours: ColourBackbone, tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    picture().save(path)
    latent = encode(colours, path)
    assert latent.captions == ("red",)
    direction = identify(latent, to="green", seed=3)
    assert direction.target_captions == ("green",)
    result = manipulate(latent, direction, strength=0.7)
    assert not isinstance(result, list)
    whole = edit(colours, str(path), to="green", strength=0.7, seed=3)
    assert same(result.image, whole.image)
    assert result.target_caption == "green"
    assert result.cost.evaluations == 0
    joint = manipulate(latent, direction, arm="joint", level=0.5, steps=8)
    assert joint.cost.evaluations == 8
    assert joint.record.settings["arm"] == "joint"


@pytest.mark.parametrize("arm", ["image", "text", "joint"])
def test_a_sweep_is_its_strengths_one_by_one(colours: ColourBackbone, arm: str) -> None:
    strengths = [1.0, 0.0, 0.4, -0.2]
    direction = identify(encode(colours, picture()), to="green", seed=3)
    swept = sweep(encode(colours, picture()), direction, strengths=strengths, arm=arm, level=0.5, steps=8)
    assert [result.strength for result in swept] == strengths
    for strength, result in zip(strengths, swept, strict=True):
        alone = manipulate(encode(colours, picture()), direction, strength=strength, arm=arm, level=0.5, steps=8)
        assert not isinstance(alone, list)
        assert np.abs(np.asarray(result.image, dtype=int) - np.asarray(alone.image, dtype=int)).max() <= 1  # rounding
        assert result.measured_strength == pytest.approx(alone.measured_strength, abs=1e-5)
        assert result.verdict.word == alone.verdict.word
        assert result.record == alone.record
    assert same(swept[1].image, picture())


def test_a_sweep_of_a_list_is_a_list_of_sweeps(colours: ColourBackbone) -> None:
    latent = encode(colours, [picture(1), picture(2)])
    direction = identify(latent, to=["green", "blue"])
    rows = sweep(latent, direction, strengths=[0.2, 1.0, 0.7])
    assert [[result.strength for result in row] for row in rows] == [[0.2, 1.0, 0.7]] * 2
    for row, source, target in zip(rows, (picture(1), picture(2)), ("green", "blue"), strict=True):
        assert all(same(result.source, source) and result.target_caption == target for result in row)


def test_a_sweep_needs_strengths(colours: ColourBackbone) -> None:
    latent = encode(colours, picture())
    with pytest.raises(ConfigError, match="at least one strength"):
        sweep(latent, identify(latent, to="green"), strengths=[])


def test_what_one_strength_found_out_serves_the_next(colours: ColourBackbone) -> None:
    """Four steps below 0.5 of eight: up once, five ways of effects, and one way a strength."""
    latent = encode(colours, picture())
    direction = identify(latent, to="green")

    def cost(strength: float, moved_by: Direction = direction, **more: object) -> float:
        result = manipulate(latent, moved_by, strength=strength, **({"arm": "joint", "level": 0.5, "steps": 8} | more))
        assert not isinstance(result, list)
        return result.cost.evaluations

    assert cost(0.5) == 7 * 4
    assert cost(0.3) == 4
    assert cost(1.0) == 4
    assert cost(0.0) == 0
    assert cost(1.0, steps=4) == 2 * 2  # another walk
    assert cost(0.6) == 4  # and the first one is still known
    assert cost(1.0, identify(latent, to="blue")) == 2 * 4  # another direction
    assert cost(1.0) == 2 * 4  # takes its place


def test_another_latent_of_the_same_pictures_is_another(colours: ColourBackbone) -> None:
    """A replaced latent carries along what was known of the old one, and must not be edited with it."""
    latent = encode(colours, picture())
    direction = identify(latent, to="green")
    manipulate(latent, direction, arm="joint", level=0.5, steps=8)
    darker = dataclasses.replace(latent, z=latent.z - 0.1)
    found = manipulate(darker, direction, arm="joint", level=0.5, steps=8)
    fresh = manipulate(dataclasses.replace(darker, known={}), direction, arm="joint", level=0.5, steps=8)
    assert not isinstance(found, list)
    assert not isinstance(fresh, list)
    assert found.cost.evaluations == fresh.cost.evaluations == 8
    assert same(found.image, fresh.image)


def test_each_call_reports_its_own_progress(colours: ColourBackbone) -> None:
    latent, first, second = encode(colours, picture()), list[str](), list[str]()
    direction = identify(latent, to="green")
    way = {"arm": "joint", "level": 0.5, "steps": 8}
    manipulate(latent, direction, progress=lambda what, done, total: first.append(what), **way)
    heard = len(first)
    manipulate(latent, direction, strength=0.0, progress=lambda what, done, total: second.append(what), **way)
    assert second == []
    manipulate(latent, direction, progress=lambda what, done, total: second.append(what), **way)
    assert second == ["return"] * 4
    manipulate(latent, direction, **way)
    assert (len(first), len(second)) == (heard, 4)


def test_strengths_beyond_what_is_sound_are_clamped_with_a_note(colours: ColourBackbone) -> None:
    latent = encode(colours, picture())
    result = manipulate(latent, identify(latent, to="green"), strength=50.0)
    assert not isinstance(result, list)
    assert result.strength == 50
    assert result.measured_strength is not None
    assert 1 <= result.measured_strength <= 3
    assert len(result.notes) == 1
    assert f"strength 50 was clamped to {result.measured_strength:.2f}," in result.notes[0]
    assert result.verdict.word != "damaged"


def test_only_calibrated_editors_measure_their_strength(colours: ColourBackbone) -> None:
    for method in METHODS:
        result = edit(colours, picture(), to="green", method=method, strength=0.6)
        assert not isinstance(result, list)
        assert (result.measured_strength is None) == (method != "eim")


def test_a_list_of_one_stays_a_list(colours: ColourBackbone) -> None:
    latent = encode(colours, [picture()])
    results = manipulate(latent, identify(latent, to="green", method=HSDS(steps=2)))
    assert isinstance(results, list)
    assert len(results) == 1
    assert isinstance(edit(colours, [Picture.from_image(picture())], to="green"), list)


def test_one_direction_on_many_pictures(colours: ColourBackbone) -> None:
    direction = identify(encode(colours, picture()), to="green")
    results = manipulate(encode(colours, [picture(1), picture(2)]), direction)
    assert [result.target_caption for result in results] == ["green", "green"]
    assert all(result.effect.read_after == {"colour": "green"} for result in results)


def test_captions_given_beat_captions_read(colours: ColourBackbone) -> None:
    assert encode(colours, picture(), caption="blue").captions == ("blue",)
    result = edit(colours, picture(), to="mauve", caption="blue")
    assert result.notes == ("unknown colour in 'mauve'",)


def test_stored_settings_and_given_ones(colours: ColourBackbone) -> None:
    stored = edit(colours, picture(), to="green", method="sdedit")
    assert stored.record.settings["level"] == 0.5
    given = edit(colours, picture(), to="green", method=SDEdit(level=0.9, steps=3))
    assert given.record.settings["level"] == 0.9


def test_no_gradients_are_kept(colours: ColourBackbone) -> None:
    latent = encode(colours, picture())
    latent = dataclasses.replace(latent, z=latent.z.clone().requires_grad_())
    assert not identify(latent, to="green", method=HSDS(gamma=1.0, steps=2)).z.requires_grad
    assert torch.is_grad_enabled()


def test_a_model_without_a_reader_needs_captions() -> None:
    model = ColourBackbone()
    with pytest.raises(ConfigError, match="--from"):
        edit(model, picture(), to="green")
    result = edit(model, picture(), to="green", caption="red")
    assert result.effect.read_before is None
    assert result.effect.read_after is None


def test_missing_forward_derivatives_are_noted_in_every_result(
    colours: ColourBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first product shows that the network has none; differences stand in, and the user is told."""

    def refuse(*arguments: object) -> None:
        raise NotImplementedError("no tangent rule")

    monkeypatch.setattr(torch.func, "jvp", refuse)
    latent, search = encode(colours, picture()), HSDS(gamma=0.5, steps=2)
    direction = identify(latent, to="green", method=search)
    results = [
        manipulate(latent, direction),
        manipulate(latent, direction, arm="joint", level=0.5, steps=4, strength=0.5),
        *sweep(latent, direction, strengths=[0.0, 0.5]),
        edit(colours, picture(), to="green", method=EIM(search=search)),
    ]
    for result in results:
        assert len(result.notes) == 1
        assert "forward-mode derivatives of colours are not available (no tangent rule)" in result.notes[0]
    plain = edit(colours, picture(), to="green", method=EIM(search=HSDS(steps=2)))
    assert not isinstance(plain, list)
    assert plain.notes == ()


@pytest.mark.parametrize(
    ("method", "arm"), [("eim", "image"), ("eim", "text"), ("eim", "joint")] + [(m, "") for m in METHODS[1:]]
)
def test_a_damaged_network_is_named_in_one_line(
    colours: ColourBackbone, monkeypatch: pytest.MonkeyPatch, method: str, arm: str
) -> None:
    monkeypatch.setattr(colours, "_velocity", lambda z, s, condition: torch.full_like(z, torch.nan))
    editor = EIM(arm=arm, steps=4) if arm else method
    for strength in (1.0, 0.5):
        with pytest.raises(ModelError, match="Check its weights") as found:
            edit(colours, picture(), to="green", caption="red", method=editor, strength=strength)
        assert "\n" not in str(found.value)
    with pytest.raises(ModelError, match="Check its weights"):
        identify(encode(colours, picture()), to="green")


def test_a_target_that_says_nothing_new_has_no_direction(colours: ColourBackbone) -> None:
    latent = encode(colours, picture())
    with pytest.raises(
        ConfigError, match=r"says something else.*from 'red' to 'red'.*Name what should change"
    ) as found:
        identify(latent, to="red")
    assert "\n" not in str(found.value)
    both = encode(colours, [picture(1), picture(2)])
    assert identify(both, to=["red", "green"]).length.count_nonzero() == 1  # one of two may stay
    result = edit(colours, picture(), to="red")
    assert not isinstance(result, list)
    assert same(result.image, picture())
    assert result.verdict.word == "nothing changed"
    assert "the two captions mean the same" in result.verdict.reason


@pytest.mark.parametrize("strength", [float("nan"), float("inf"), -float("inf")])
def test_strengths_that_are_no_numbers_are_refused_everywhere(colours: ColourBackbone, strength: float) -> None:
    latent = encode(colours, picture())
    direction = identify(latent, to="green")
    before = colours.evaluations
    for method in METHODS:
        with pytest.raises(ConfigError, match="finite"):
            edit(colours, picture(), to="green", strength=strength, method=method)
    with pytest.raises(ConfigError, match="finite"):
        manipulate(latent, direction, strength=strength)
    with pytest.raises(ConfigError, match="finite") as found:
        sweep(latent, direction, strengths=[0.5, strength], arm="joint")
    assert isinstance(found.value, LatentEditError)
    assert colours.evaluations == before


def test_bad_input_is_refused_in_words(colours: ColourBackbone, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="empty one"):
        edit(colours, picture(), to="  ")
    with pytest.raises(ConfigError, match="empty one"):
        edit(colours, picture(), to="green", caption="")
    with pytest.raises(ConfigError, match="finite"):
        edit(colours, picture(), to="green", strength=float("nan"))
    with pytest.raises(ConfigError, match="each of 1 pictures; got 2"):
        edit(colours, picture(), to=["green", "blue"])
    with pytest.raises(ConfigError, match="empty list"):
        encode(colours, [])
    with pytest.raises(RegistryError, match="did you mean 'flowedit'"):
        edit(colours, picture(), to="green", method="flowedits")
    with pytest.raises(ImageError):
        edit(colours, tmp_path / "none.png", to="green")
