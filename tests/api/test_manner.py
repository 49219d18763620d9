"""How pictures are moved where nothing else is said; directions that live at a level move there."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from latentedit.api.manner import Manner, stored_eim
from latentedit.api.outputs import read_record, same_picture, write_result
from latentedit.api.replay import replay as replay_record
from latentedit.api.verbs import identify, manipulate, sweep
from latentedit.core.errors import ConfigError
from latentedit.directions.at_level import clean_share, random_direction
from latentedit.directions.base import Direction
from latentedit.directions.hsds import HSDS
from latentedit.editors.eim import EIM
from latentedit.editors.judge import Judge
from latentedit.editors.slider import Slider
from latentedit.latents.encode import encode
from latentedit.latents.inversion import invert, replay
from latentedit.latents.joint import JointLatent
from latentedit.latents.pictures import Picture
from tests.editors.colours import ColourBackbone
from tests.editors.edits import grey, noisy, only

SCENE = "grey room, a hat, a wall"
"""The colour model reads the first word; the rest is for the words of changes."""


@pytest.fixture
def latent(colours: ColourBackbone) -> JointLatent:
    return encode(colours, grey(), caption=SCENE)


@pytest.fixture
def red(latent: JointLatent) -> Direction:
    return identify(latent, change="grey => red", seed=3)


def at_level(latent: JointLatent, index: int = 0, **settings: Any) -> Direction:
    return random_direction(latent, **{"level": 0.6, "steps": 5, "step": 3.0, "seed": 1, "index": index, **settings})


def test_where_nothing_is_said_the_models_own_settings_hold(colours: ColourBackbone, red: Direction) -> None:
    colours.defaults = {"editors": {"eim": {"arm": "joint", "level": 0.4, "steps": 9, "search": {"steps": 3}}}}
    assert stored_eim(colours) == EIM(arm="joint", level=0.4, steps=9, search=HSDS(steps=3))
    latent = encode(colours, grey(), caption=SCENE)
    found = Manner.of(latent, [red])
    assert (found.arm, found.level, found.steps, found.mixing, found.local) == ("joint", 0.4, 9, "sum", True)
    found = Manner.of(latent, [red], arm="text", level=0.5, steps=2, mixing="inverse", local=False)
    assert (found.walk, found.mixing, found.local) == (("text", 0.5, 2), "inverse", False)
    colours.defaults = {}
    assert Manner.of(latent, [red]).walk == (EIM().arm, EIM().level, EIM().steps)


def test_directions_with_words_move_other_pictures_as_the_model_says(colours: ColourBackbone, red: Direction) -> None:
    """Not those that were found on this picture, and not those that cannot be said in another caption."""
    colours.defaults = {"transfer": {"arm": "joint", "level": 0.9, "steps": 7}}
    own, other = (encode(colours, grey(seed), caption=SCENE) for seed in (0, 5))
    found = identify(own, to="red room, a cat")
    assert Manner.of(own, [found]).walk == (EIM().arm, EIM().level, EIM().steps)
    assert Manner.of(other, [found]).walk == ("joint", 0.9, 7)
    assert Manner.of(other, [found], arm="image").walk == ("image", 0.9, 7)
    assert Manner.of(other, [dataclasses.replace(found, source_captions=(), target_captions=())]).walk == (
        EIM().arm,
        EIM().level,
        EIM().steps,
    )
    made = encode(colours, grey(6), caption=found.target_captions[0])  # by this direction, as far as one can see
    assert Manner.of(made, [found]).walk == (EIM().arm, EIM().level, EIM().steps)


def test_directions_without_words_move_at_their_level(latent: JointLatent, red: Direction) -> None:
    found, other = at_level(latent), at_level(latent, 1, steps=7)
    assert Manner.of(latent, [found]).walk == ("joint", 0.6, 5)
    assert Manner.of(latent, [found, -other]).walk == ("joint", 0.6, 7)
    assert Manner.of(latent, [red, found]).walk == ("joint", 0.6, 5)
    assert Manner.of(latent, [found], level=0.5, steps=3).walk == ("joint", 0.5, 3)
    assert Manner.of(latent, [found], arm="image").walk == ("image", 0.6, 5)
    clean, stored = dataclasses.replace(found, settings={}), stored_eim(latent.backbone)
    assert Manner.of(latent, [clean]).walk == (stored.arm, stored.level, stored.steps), "it lives at no level"


def test_levels_that_differ_are_moved_at_one_after_the_other(latent: JointLatent) -> None:
    both = [at_level(latent), at_level(latent, 1, level=0.8)]
    with pytest.raises(ConfigError, match=r"got levels 0\.6, 0\.8\. Move by one after the other"):
        manipulate(latent, both)
    first = only(manipulate(latent, both[0]))
    assert only(manipulate(first.latent, both[1])).record.before == first.record
    manipulate(latent, [both[0], at_level(latent, 1, level=0.6 + 1e-9)])  # as a file may round it


@pytest.mark.parametrize("steps", [0, "many", 2.5, None])
def test_steps_are_read_with_distrust(latent: JointLatent, steps: Any) -> None:
    odd = dataclasses.replace(at_level(latent), settings={"steps": steps})
    with pytest.raises(ConfigError, match="steps must be"):
        Manner.of(latent, [odd])


@pytest.mark.parametrize("level", [0.4, 1.0])
def test_what_is_added_at_the_level_is_the_direction_there(colours: ColourBackbone, level: float) -> None:
    """Also at level 1, where a latent shows nothing of the picture; strength 0 is the picture bit for bit."""
    picture = noisy(mean=(128, 128, 128), deviation=40)
    latent = encode(colours, picture, caption="grey")
    direction = at_level(latent, level=level)
    trace = invert(latent, latent.path(5, level))
    offset = 0.5 * direction.z * clean_share(level)
    assert float(torch.linalg.vector_norm(offset)) == pytest.approx(1.5, rel=1e-5)
    slider = Slider(latent=latent, direction=direction, arm="joint", level=level, steps=5, judge=Judge())
    found = slider.move(torch.tensor([[0.5]], dtype=torch.float64))[0]
    assert torch.allclose(found, replay(latent, trace, latent.condition, offset=offset), atol=1e-6)
    assert not torch.allclose(found, latent.z, atol=1e-2)
    still, whole, beyond, below = sweep(latent, direction, strengths=[0.0, 1.0, 40.0, -40.0])
    assert same_picture(only(still).image, picture)
    assert only(whole).measured_strength == 1
    for result in (only(beyond), only(below)):
        assert any("clamped" in note for note in result.notes)
        assert result.verdict.word == "changed"


def test_verdicts_without_words(colours: ColourBackbone) -> None:
    latent = encode(colours, noisy(mean=(128, 128, 128), deviation=40), caption="grey")
    found = [only(manipulate(latent, at_level(latent), strength=strength)) for strength in (1.0, 0.01, 0.0)]
    assert [result.verdict.word for result in found] == ["changed", "nothing changed", "nothing changed"]
    assert found[1].verdict.remedy == "more strength"
    assert [result.target_caption for result in found] == ["", "", ""]
    assert found[0].latent.captions == latent.captions


def test_several_of_one_level_move_together(latent: JointLatent) -> None:
    first, second = at_level(latent), at_level(latent, 1)
    found = only(manipulate(latent, [first, second], strength=[1.0, -0.5]))
    trace = invert(latent, latent.path(5, 0.6))
    offset = (first.z - 0.5 * second.z) * clean_share(0.6)
    expected = replay(latent, trace, latent.condition, offset=offset)
    assert torch.allclose(found.latent.z, expected, atol=1e-6)
    assert found.record.settings == {"arm": "joint", "level": 0.6, "steps": 5}


def test_what_was_moved_at_a_level_is_replayed(colours: ColourBackbone, tmp_path: Path) -> None:
    """With the direction's file, or not at all."""
    place = tmp_path / "me.png"
    grey().save(place)
    latent = encode(colours, place, caption="grey")
    direction = at_level(latent)
    made = only(manipulate(latent, direction, strength=0.7))
    write_result(made, tmp_path / "out.png")
    record = read_record(tmp_path / "out.png")
    (again,) = replay_record(record, colours, Picture.open(place), directions=[direction])
    assert again.record == made.record
    assert same_picture(again.image, made.image)
    with pytest.raises(ConfigError, match="Give its file with --direction"):
        replay_record(record, colours, Picture.open(place))
