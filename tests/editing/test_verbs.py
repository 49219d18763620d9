"""The front door, on a model of coloured pictures whose edits have a closed form."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import latentedit as le
from latentedit.directions.hsds import HSDS
from latentedit.editing.eim import EIM
from latentedit.editing.registry import editor_names
from latentedit.editing.sdedit import SDEdit
from latentedit.editing.verbs import edit, encode, identify, manipulate
from latentedit.encoding.images import Picture
from latentedit.errors import ConfigError, ImageError, RegistryError
from tests.editing.colours import ColourBackbone


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


def test_an_edit_moves_the_picture_by_the_difference_of_the_texts(colours: ColourBackbone) -> None:
    """Annealed to the end, the change is the shift of the means: -1 in red and +1 in green on the scale of [-1, 1]."""
    result = edit(colours, picture(), to="green", method=EIM(steps=64))
    assert not isinstance(result, list)
    change = np.asarray(result.image, dtype=float) - np.asarray(result.source, dtype=float)
    assert np.abs(change.mean(axis=(0, 1)) - 127.5 * np.array([-1, 1, 0])).max() < 2  # some pixels clip
    assert result.caption == "red"
    assert result.target_caption == "green"
    assert result.effect.read_before == {"colour": "red"}
    assert result.effect.read_after == {"colour": "green"}
    assert result.effect.changed_share == 1
    assert result.method == "eim"
    assert result.notes == ()


def test_cost_and_record_say_what_was_done(colours: ColourBackbone) -> None:
    results = edit(colours, [picture(0), picture(1)], to="blue", seed=5, strength=0.5)
    assert isinstance(results, list)
    for result in results:
        assert result.cost.evaluations == 48  # the model's stored 24 steps
        assert result.cost.seconds > 0
        assert result.cost.peak_bytes > 1e6
        assert result.record.seed == 5
        assert result.record.settings["steps"] == 24
        assert result.record.model == {"name": "colours", "fingerprint": "colours-1"}
        assert {"latentedit", "torch", "diffusers", "transformers", "python"} <= set(result.record.versions)


@pytest.mark.parametrize("method", ["eim", "sdedit", "inversion", "aligned-inversion", "flowedit"])
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
    assert set(editor_names()) >= {"eim", "sdedit", "inversion", "aligned-inversion", "flowedit"}


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
