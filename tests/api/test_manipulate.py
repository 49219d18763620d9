"""What moves pictures, and what is said of it: captions, records, costs."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from latentedit.api.manipulate import run_editor, search_of, seed_of, slide
from latentedit.api.manner import Manner
from latentedit.api.measure import Meter, metered
from latentedit.api.outputs import same_picture
from latentedit.api.result import EditResult
from latentedit.api.verbs import identify
from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError, ShapeError
from latentedit.directions.base import Direction
from latentedit.directions.composition import compose, cross_talk
from latentedit.directions.hsds import HSDS
from latentedit.editors.baselines.flowedit import FlowEdit
from latentedit.editors.slider import Arm
from latentedit.latents.encode import encode
from latentedit.latents.joint import JointLatent
from tests.editors.colours import ColourBackbone
from tests.editors.edits import grey

SCENE = "grey room, a hat, a wall"
"""The colour model reads the first word; the rest is for the words of changes."""


@pytest.fixture
def latent(colours: ColourBackbone) -> JointLatent:
    return encode(colours, grey(), caption=SCENE)


@pytest.fixture
def red(latent: JointLatent) -> Direction:
    return identify(latent, change="grey => red", seed=3)


@pytest.fixture
def blue(latent: JointLatent) -> Direction:
    """To blue as far as the latent goes; its words speak of the hat."""
    moved = identify(latent, change="grey => blue", seed=4)
    return dataclasses.replace(moved, target_captions=("grey room, a scarf, a wall",))


def moved(
    latent: JointLatent,
    directions: Sequence[Direction],
    shares: Sequence[float] = (1.0,),
    strength: float = 1.0,
    meter: Meter | None = None,
    **manner: Any,
) -> EditResult:
    """The first picture's result."""
    found = Manner.of(latent, directions, **manner)
    return slide(latent, directions, shares, [strength], found, meter=meter)[0][0]


def wordless(direction: Direction) -> Direction:
    return dataclasses.replace(direction, source_captions=(), target_captions=())


@pytest.mark.parametrize("arm", ["image", "joint"])
@pytest.mark.parametrize("mixing", ["sum", "inverse", "projection"])
@pytest.mark.parametrize("shares", [(1.0, 1.0), (0.3, 0.8), (0.5, -0.4), (-1.0, -1.0), (0.0, 1.0)])
def test_several_directions_are_one_that_is_composed(
    latent: JointLatent, red: Direction, blue: Direction, arm: Arm, mixing: Any, shares: tuple[float, float]
) -> None:
    """A negative share is so much of the reverse; for the sum, and for duals, that is the same with a minus."""
    result = moved(latent, [red, blue], shares, arm=arm, level=0.5, steps=6, mixing=mixing)
    ways = [d if share >= 0 else -d for d, share in zip([red, blue], shares, strict=True)]
    whole = wordless(compose([wordless(way) for way in ways], [abs(share) for share in shares], mixing))
    fresh = dataclasses.replace(latent, known={})
    expected = moved(fresh, [whole], arm=arm, level=0.5, steps=6)
    assert torch.equal(result.latent.z, expected.latent.z)
    assert same_picture(result.image, expected.image)
    assert result.strength == 1
    assert result.cross_talk is not None
    assert torch.equal(result.cross_talk, cross_talk(ways)[0])
    assert [told.strength for told in result.record.directions] == list(shares)
    assert result.record.mixing == mixing


def test_a_single_direction_is_not_composed(latent: JointLatent, red: Direction) -> None:
    result = moved(latent, [red])
    assert torch.equal(result.latent.z, latent.z + red.z)
    assert result.cross_talk is None
    back = moved(latent, [red], [-1.0])
    assert torch.equal(back.latent.z, latent.z - red.z)


def test_all_changes_are_said_in_one_caption(latent: JointLatent, red: Direction, blue: Direction) -> None:
    assert moved(latent, [red]).target_caption == "red room, a hat, a wall"
    result = moved(latent, [red, blue], (0.5, 0.5))
    assert result.target_caption == "red room, a scarf, a wall"
    assert result.latent.captions == ("red room, a scarf, a wall",)
    assert moved(latent, [red, wordless(blue)], (0.5, 0.5)).target_caption == "red room, a hat, a wall"


def test_what_has_no_words_here_is_not_said(latent: JointLatent, red: Direction) -> None:
    """Without words at all, or with words that are not in the caption of this picture."""
    elsewhere = dataclasses.replace(red, source_captions=("a dog",), target_captions=("a cat",))
    for one in (wordless(red), elsewhere):
        result = moved(dataclasses.replace(latent, known={}), [one])
        assert result.target_caption == ""
        assert result.record.target_caption == ""
        assert result.latent.captions == (SCENE,)
    assert moved(latent, [wordless(red), elsewhere], (0.5, 0.3)).target_caption == ""


def test_an_edit_to_the_same_caption_says_so(latent: JointLatent, red: Direction) -> None:
    still = dataclasses.replace(red, target_captions=(SCENE,))
    assert moved(latent, [still]).target_caption == SCENE


def test_one_direction_on_several_pictures_has_words_for_each(colours: ColourBackbone, red: Direction) -> None:
    latent = encode(colours, [grey(1), grey(2), grey(3)], caption=["grey room, a cat", "a dog", "a tree, grey room"])
    (row,) = slide(latent, [red], [1.0], [0.5], Manner.of(latent, [red]))
    assert [result.target_caption for result in row] == ["red room, a cat", "", "a tree, red room"]
    assert [result.record.directions[0].target_caption for result in row] == ["red room, a cat", "", "a tree, red room"]
    assert all(result.record.directions[0].given for result in row)
    assert {result.record.directions[0].fingerprint for result in row} == {red.fingerprint}


def test_more_words_than_pictures_are_no_error(colours: ColourBackbone, red: Direction) -> None:
    latent = encode(colours, [grey(1), grey(2), grey(3)], caption=SCENE)
    odd = dataclasses.replace(red, source_captions=(), target_captions=("red", "blue"))
    (row,) = slide(latent, [odd], [1.0], [0.5], Manner.of(latent, [odd]))
    assert [result.target_caption for result in row] == ["red", "blue", ""]


def test_each_picture_of_a_list_has_its_own_direction_on_record(colours: ColourBackbone) -> None:
    latent = encode(colours, [grey(1), grey(2)], caption="grey")
    direction = identify(latent, to=["red", "blue"])
    (row,) = slide(latent, [direction], [1.0], [1.0], Manner.of(latent, [direction]))
    for index, (result, target) in enumerate(zip(row, ("red", "blue"), strict=True)):
        (told,) = result.record.directions
        assert told.fingerprint == direction.row(index).fingerprint
        assert (told.target_caption, told.given) == (target, False)
        assert result.record.evaluations == 48


@pytest.mark.parametrize(
    ("changes", "given"),
    [
        ({}, False),
        ({"notes": ("a note",)}, False),
        ({"method": "by hand"}, True),
        ({"pictures": ()}, True),
        ({"pictures": ("0" * 16,)}, True),
        ({"source_captions": ("blue",)}, True),
        ({"source_captions": ()}, True),
        ({"target_captions": ()}, True),
        ({"target_captions": ("",)}, True),
    ],
)
def test_only_what_was_found_here_can_be_found_again(
    latent: JointLatent, red: Direction, changes: dict[str, Any], given: bool
) -> None:
    result = moved(latent, [dataclasses.replace(red, **changes)])
    assert result.record.directions[0].given is given
    assert result.record.evaluations == (0 if given else 48)  # what it takes from nothing


def test_another_picture_with_the_same_caption_is_another(colours: ColourBackbone, red: Direction) -> None:
    assert moved(encode(colours, grey(1), caption=SCENE), [red]).record.directions[0].given


def test_a_second_time_costs_nothing(latent: JointLatent, red: Direction, blue: Direction) -> None:
    """What is known of several directions at these shares serves again; anything else is found out anew."""
    manner = {"arm": "joint", "level": 0.5, "steps": 8, "mixing": "inverse"}

    def cost(directions: Sequence[Direction], shares: Sequence[float], strength: float = 0.5, **more: Any) -> float:
        return moved(latent, directions, shares, strength, **(manner | more)).cost.evaluations

    first = cost([red, blue], (0.4, 0.3))
    assert first == (1 + 5 + 1) * 4
    assert cost([red, blue], (0.4, 0.3)) == 4  # the way back to that strength alone
    assert cost([red, blue], (0.4, 0.3), 0.0) == 0
    for other in (
        {"shares": (0.4, 0.2)},
        {"mixing": "sum"},
        {"directions": [blue, red]},
        {"directions": [red, dataclasses.replace(blue)]},
        {"level": 0.6},
    ):
        asked = {"directions": [red, blue], "shares": (0.4, 0.3)} | other
        assert cost(**asked) >= first


def test_the_image_arm_costs_nothing_within_the_change(latent: JointLatent, red: Direction) -> None:
    assert moved(latent, [red], strength=0.5).cost.evaluations == 0
    assert moved(latent, [red], strength=1.5).cost.evaluations > 0
    assert moved(latent, [red], strength=1.4).cost.evaluations == 0


def test_a_meter_that_runs_already_counts_what_came_before(colours: ColourBackbone, latent: JointLatent) -> None:
    with metered(colours) as meter:
        direction = identify(latent, change="grey => red")
        assert moved(latent, [direction], meter=meter).cost.evaluations == 48


def test_other_editors_know_one_text(colours: ColourBackbone, latent: JointLatent) -> None:
    editor = FlowEdit(steps=4)
    target = "red room, a hat, a wall"
    (result,) = run_editor(editor, latent, (target,), strength=0.5, seed=3, local=True, progress=None)
    expected = editor.edit(latent, colours.embed([target]), [0.5], seed=3)[0].z
    assert torch.equal(result.latent.z, expected)
    assert result.measured_strength is None
    assert (result.method, result.target_caption) == ("flowedit", target)
    assert result.record.settings == editor.to_dict()
    assert result.record.directions == ()
    assert (result.record.local, result.record.seed) == (True, 3)
    assert result.record.evaluations == editor.evaluations(latent, strength=0.5) == result.cost.evaluations


def test_directions_that_contradict_each_other_are_refused(latent: JointLatent, red: Direction) -> None:
    with pytest.raises(ConfigError, match=r"numbers 1 and 2 contradict each other"):
        moved(latent, [red, red], (1.0, -1.0))
    with pytest.raises(ConfigError, match=r"number 2 has no length"):
        moved(latent, [red, dataclasses.replace(red, z=0 * red.z)], (1.0, 1.0))
    with pytest.raises(ConfigError, match=r"at least one direction"):
        moved(latent, [], ())


def test_directions_that_do_not_fit_are_refused(latent: JointLatent, red: Direction) -> None:
    foreign = dataclasses.replace(red, model_fingerprint="another-2")
    for directions, shares in (([foreign], (1.0,)), ([red, foreign], (0.5, 0.5))):
        with pytest.raises(ConfigError, match=r"colours-1.*another-2"):
            moved(latent, directions, shares)
    double = Condition.cat([red.condition, red.condition])
    two = dataclasses.replace(wordless(red), z=red.z.repeat(2, 1, 1, 1), condition=double)
    with pytest.raises(ShapeError, match=r"one text or one a picture"):
        moved(latent, [two])
    with pytest.raises(ShapeError, match=r"for latents of shape \[1, 3, 8, 8\]; got one of \[1, 3, 8, 4\]"):
        moved(latent, [dataclasses.replace(red, z=red.z[..., :4])])
    with pytest.raises(ShapeError, match=r"directions of one shape"):
        moved(latent, [red, dataclasses.replace(red, z=red.z[..., :4])], (0.5, 0.5))


@pytest.mark.parametrize("seed", ["3", None, 2.5, True, [1]])
def test_a_seed_is_a_whole_number(latent: JointLatent, red: Direction, seed: Any) -> None:
    assert seed_of({}) == 0
    assert seed_of({"seed": 10**30}) == 10**30
    with pytest.raises(ConfigError, match=r"seed is a whole number"):
        moved(latent, [dataclasses.replace(red, settings={"seed": seed})])


def test_settings_of_a_search_are_read_with_distrust() -> None:
    assert search_of({"steps": 3, "seed": 5, "levels": [0.9, 0.2]}) == HSDS(steps=3, levels=(0.9, 0.2))
    for settings in ({"stepz": 3}, {"levels": 3}, {"levels": {"a": 1, "b": 2}}, {"steps": None}, {"keep": "x"}):
        with pytest.raises(ConfigError):
            search_of(settings)
