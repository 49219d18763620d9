"""Moves along directions: captions, records and costs, and values that a session caches."""

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import pytest
import torch

import latentedit as le
from latentedit.core.errors import ConfigError, LatentEditWarning
from latentedit.core.setting import Combine
from latentedit.editing.outputs import same_image
from latentedit.editing.request import EditRequest
from latentedit.editing.result import EditResult, view
from latentedit.editing.session import Session
from latentedit.editing.verbs import identify, manipulate
from latentedit.editors import FlowEdit
from latentedit.editors.eim import EIM, Arm, Slider, default_manipulation, stored_eim
from latentedit.editors.judge import Judge
from latentedit.editors.moving import search_of, seed_of
from latentedit.encoding.encode import encode
from latentedit.encoding.images import SourceImage
from latentedit.encoding.inversion import invert, retrace
from latentedit.encoding.joint import JointLatent
from latentedit.encoding.record import ImageRecord
from latentedit.geometry.pullback import direction_at, random_units
from latentedit.identification.composition import compose, cross_talk
from latentedit.identification.direction import Direction, clean_share
from latentedit.identification.hsds import HSDS
from latentedit.numerics.condition import Condition
from tests.editors.colors import COLORS, ColorBackbone
from tests.editors.edits import gray, noisy

SCENE = "gray room, a hat, a wall"  # the color model reads only the first word; changes can name the rest


@pytest.fixture
def latent(colors: ColorBackbone) -> JointLatent:
    return encode(colors, gray(), source_prompt=SCENE)


@pytest.fixture
def red(latent: JointLatent) -> Direction:
    return identify(latent, change="gray => red", seed=3)


@pytest.fixture
def blue(latent: JointLatent) -> Direction:
    """A direction to blue whose captions name the hat."""
    moved = identify(latent, change="gray => blue", seed=4)
    return dataclasses.replace(moved, target_captions=("gray room, a scarf, a wall",))


def moved(
    latent: JointLatent | Session,
    directions: Sequence[Direction],
    shares: Sequence[float] = (1.0,),
    strength: float = 1.0,
    *,
    combine: Combine = "sum",
    auto_mask: bool | None = None,
    **way: Any,
) -> EditResult:
    """The result of the first image."""
    session = latent if isinstance(latent, Session) else Session(latent)
    how: dict[str, Any] = {"combine": combine, "auto_mask": auto_mask, "settings": way}
    request = EditRequest(direction=tuple(directions), strength=tuple(shares), **how)
    return session.run(request, [strength])[0][0]


def wordless(direction: Direction) -> Direction:
    return dataclasses.replace(direction, source_captions=(), target_captions=())


@pytest.mark.slow_except("image-sum-shares0")
@pytest.mark.parametrize(
    ("arm", "combine", "shares"),
    [
        ("image", "sum", (0.3, 0.8)),
        ("joint", "sum", (0.5, -0.4)),
        ("image", "inverse", (0.5, -0.4)),
        ("joint", "inverse", (0.0, 1.0)),
        ("image", "projection", (0.0, 1.0)),
        ("joint", "projection", (0.3, 0.8)),
    ],
)
def test_several_directions_equal_their_composition(
    latent: JointLatent, red: Direction, blue: Direction, arm: Arm, combine: Any, shares: tuple[float, float]
) -> None:
    """A negative strength reverses the direction."""
    result = moved(latent, [red, blue], shares, arm=arm, level=0.5, steps=6, combine=combine, auto_mask=False)
    ways = [d if share >= 0 else -d for d, share in zip([red, blue], shares, strict=True)]
    whole = wordless(compose([wordless(way) for way in ways], [abs(share) for share in shares], combine))
    expected = moved(latent, [whole], arm=arm, level=0.5, steps=6, auto_mask=False)
    assert torch.equal(result.latent.z, expected.latent.z)
    assert same_image(result.image, expected.image)
    assert result.strength == 1
    assert result.cross_talk is not None
    assert torch.equal(result.cross_talk, cross_talk(ways)[0])
    assert [report.strength for report in result.record.directions] == list(shares)
    assert result.record.recipe.combine == combine


def test_the_target_caption_contains_all_changes(latent: JointLatent, red: Direction, blue: Direction) -> None:
    """Only directions that are applied, and whose words are in the caption of the image, change it."""
    alone, back = moved(latent, [red]), moved(latent, [red], [-1.0])
    assert torch.equal(alone.latent.z, latent.z + red.z)
    assert torch.equal(back.latent.z, latent.z - red.z)
    assert alone.cross_talk is None, "it is not composed"
    assert alone.target_caption == "red room, a hat, a wall"
    result = moved(latent, [red, blue], (0.5, 0.5))
    assert result.target_caption == "red room, a scarf, a wall"
    assert result.latent.captions == ("red room, a scarf, a wall",)
    for other, share in ((wordless(blue), 0.5), (blue, 0.0)):
        result = moved(latent, [red, other], (0.5, share))
        assert result.target_caption == "red room, a hat, a wall"
        assert result.latent.captions == ("red room, a hat, a wall",)
    assert moved(latent, [dataclasses.replace(red, target_captions=(SCENE,))]).target_caption == SCENE
    elsewhere = dataclasses.replace(red, source_captions=("a dog",), target_captions=("a cat",))
    for ways, shares in (([wordless(red)], (1.0,)), ([elsewhere], (1.0,)), ([wordless(red), elsewhere], (0.5, 0.3))):
        result = moved(latent, ways, shares)
        assert (result.target_caption, result.record.target_caption) == ("", "")
        assert result.latent.captions == (SCENE,)
    for arm in ("image", "joint"):
        away = manipulate(latent, red, strength=-0.5, arm=arm)
        assert away.latent.captions == latent.captions, "a negative strength does not show the target"


def test_directions_of_several_images_have_captions_for_each(colors: ColorBackbone, red: Direction) -> None:
    """A direction for all images, one with too few captions, and one per image."""
    images = [gray(1), gray(2), gray(3)]
    latent = encode(colors, images, source_prompt=["gray room, a cat", "a dog", "a tree, gray room"])
    row = Session(latent).manipulate(red, strength=0.5)
    assert [result.target_caption for result in row] == ["red room, a cat", "", "a tree, red room"]
    assert [result.record.directions[0].target_caption for result in row] == ["red room, a cat", "", "a tree, red room"]
    assert all(result.record.directions[0].given for result in row)
    assert {result.record.directions[0].fingerprint for result in row} == {red.fingerprint}
    odd = dataclasses.replace(red, source_captions=(), target_captions=("red", "blue"))
    assert [result.target_caption for result in Session(latent).manipulate(odd, strength=0.5)] == ["red", "blue", ""]
    latent = encode(colors, images[:2], source_prompt="gray")
    direction = identify(latent, prompt=["red", "blue"])
    for index, result in enumerate(Session(latent).manipulate(direction)):
        (report,) = result.record.directions
        assert report.fingerprint == direction.row(index).fingerprint
        assert (report.target_caption, report.given) == (("red", "blue")[index], False)
        assert result.record.evaluations == 48


@pytest.mark.slow_except("changes2-True")
@pytest.mark.parametrize(
    ("changes", "given"),
    [
        ({}, False),
        ({"notes": ("a note",)}, False),
        ({"method": "by hand"}, True),
        ({"images": ("0" * 16,)}, True),
        ({"source_captions": ("blue",)}, True),
        ({"target_captions": ("",)}, True),
    ],
)
def test_only_directions_found_on_this_image_can_be_recomputed(
    latent: JointLatent, red: Direction, changes: dict[str, Any], given: bool
) -> None:
    result = moved(latent, [dataclasses.replace(red, **changes)])
    assert result.record.directions[0].given is given
    assert result.record.evaluations == (0 if given else 48)  # including the search
    assert moved(encode(latent.backbone, gray(1), source_prompt=SCENE), [red]).record.directions[0].given


def test_other_editors_take_one_prompt(colors: ColorBackbone, latent: JointLatent) -> None:
    editor, other = FlowEdit(steps=4), SourceImage.from_image(noisy())
    latent = dataclasses.replace(latent, references=(other,))
    target = "red room, a hat, a wall"
    ((result,),) = Session(latent).run(EditRequest(prompt=target, method=editor, seed=3, auto_mask=True), [0.5])
    expected = editor.edit(latent, colors.embed([target]), [0.5], seed=3)[0].z
    assert torch.equal(result.latent.z, expected)
    assert (result.method, result.target_caption) == ("flowedit", target)
    assert result.record.recipe.settings == editor.to_dict()
    assert (result.record.directions, result.record.references) == ((), (ImageRecord.of(other),))
    assert (result.record.recipe.auto_mask, result.record.seed) == (True, 3)
    assert result.record.evaluations == editor.evaluations(latent, strength=0.5) == result.cost.evaluations


def test_a_part_of_a_change_that_is_off_or_on_has_a_note(latent: JointLatent) -> None:
    for change, noted in (("=> glasses", True), ("a hat => a scarf", True), ("gray => red", False)):
        half, whole = Session(latent).sweep(change=change, strengths=[0.5, 1.0], method=FlowEdit(steps=4))[0]
        assert any("off or on" in note for note in half.notes) == noted
        assert not any("off or on" in note for note in whole.notes)
        assert view([half, whole]).steps == noted


def test_a_short_target_caption_is_noted_as_likely_a_change(latent: JointLatent) -> None:
    with pytest.warns(LatentEditWarning, match="=> red"):
        identify(latent, "red", num_inference_steps=2)
    for target in ({"prompt": SCENE.replace("gray", "red")}, {"change": "gray => red"}):
        with warnings.catch_warnings():
            warnings.simplefilter("error", LatentEditWarning)
            identify(latent, num_inference_steps=2, **target)


def test_invalid_settings_of_directions_are_rejected(latent: JointLatent, red: Direction) -> None:
    assert (seed_of({}), seed_of({"seed": 10**30})) == (0, 10**30)
    assert search_of({"steps": 3, "seed": 5, "levels": [0.9, 0.2]}) == HSDS(steps=3, levels=(0.9, 0.2))
    for seed in ("3", None, True):
        with pytest.raises(ConfigError):
            moved(latent, [dataclasses.replace(red, settings={"seed": seed})])
    for steps in (0, "many", None):
        with pytest.raises(ConfigError):
            default_manipulation(latent, [dataclasses.replace(at_level(latent), settings={"steps": steps})], {})
    for settings in ({"stepz": 3}, {"levels": 3}):
        with pytest.raises(ConfigError):
            search_of(settings)


def way(latent: JointLatent, directions: Sequence[Direction], **text: Any) -> tuple[Arm, float, int]:
    """How directions move images."""
    editor = default_manipulation(latent, directions, text)
    return editor.arm, editor.level, editor.steps


def at_level(latent: JointLatent, index: int = 0, *, level: float = 0.6, steps: int = 5) -> Direction:
    drawn = random_units(latent, 1, seed=1, first=index)
    return direction_at(latent, 3 * drawn, level=level, method="random", settings={"steps": steps})


def test_arm_level_and_steps_of_directions(colors: ColorBackbone, latent: JointLatent, red: Direction) -> None:
    """The options decide, else the level of the directions, else the model's settings, also those for other images."""
    found, other = at_level(latent), at_level(latent, 1, steps=7)
    assert way(latent, [found]) == ("joint", 0.6, 5)
    assert way(latent, [found, -other]) == ("joint", 0.6, 7)
    assert way(latent, [red, found]) == ("joint", 0.6, 5)
    assert way(latent, [found], arm="image", steps=3) == ("image", 0.6, 3)
    stored = {"arm": "joint", "level": 0.4, "steps": 9, "search": {"steps": 3}}
    colors.defaults = {"editors": {"eim": stored}, "transfer": {"arm": "text", "level": 0.9, "steps": 7}}
    assert stored_eim(colors) == EIM(arm="joint", level=0.4, steps=9, search=HSDS(steps=3))
    assert way(latent, [dataclasses.replace(found, settings={})]) == ("joint", 0.4, 9), "without a level"
    assert way(latent, [red]) == ("joint", 0.4, 9), "found on this image"
    other_image = encode(colors, gray(5), source_prompt=SCENE)
    assert way(other_image, [red]) == ("text", 0.9, 7)
    assert way(other_image, [red], arm="image") == ("image", 0.9, 7)
    assert way(other_image, [wordless(red)]) == ("joint", 0.4, 9), "without captions"
    made = encode(
        colors, gray(6), source_prompt=red.target_captions[0]
    )  # which looks like the result of this direction
    assert way(made, [red]) == ("joint", 0.4, 9)
    colors.defaults = {}
    assert way(latent, [red]) == (EIM().arm, EIM().level, EIM().steps)


def test_directions_at_different_levels_are_applied_in_sequence(latent: JointLatent) -> None:
    both = [at_level(latent), at_level(latent, 1, level=0.8)]
    with pytest.raises(ConfigError, match=r"0\.6, 0\.8"):
        manipulate(latent, both)
    first = manipulate(latent, both[0])
    assert manipulate(first.latent, both[1]).record.before == first.record
    close = at_level(latent, 1, level=0.6 + 1e-9)  # a file may round it so
    found = manipulate(latent, [both[0], close], strength=[1.0, -0.5])
    trace, offset = invert(latent, latent.path(5, 0.6)), (both[0].z - 0.5 * close.z) * clean_share(0.6)
    assert torch.allclose(found.latent.z, retrace(latent, trace, latent.condition, offset=offset), atol=1e-6)
    assert found.record.recipe.settings == {"arm": "joint", "level": 0.6, "steps": 5}


@pytest.mark.parametrize("level", [0.4, 1.0])
def test_the_direction_is_added_at_its_level(colors: ColorBackbone, level: float) -> None:
    """Also at level 1, where a latent shows nothing of the image; strength 0 is the image bit for bit."""
    image = noisy(mean=(128, 128, 128), deviation=40)
    latent = encode(colors, image, source_prompt="gray")
    direction = at_level(latent, level=level)
    trace = invert(latent, latent.path(5, level))
    offset = 0.5 * direction.z * clean_share(level)
    assert float(torch.linalg.vector_norm(offset)) == pytest.approx(1.5, rel=1e-5)
    slider = Slider(latent=latent, direction=direction, arm="joint", level=level, steps=5, judge=Judge())
    found = slider.move(torch.tensor([[0.5]], dtype=torch.float64))[0]
    assert torch.allclose(found, retrace(latent, trace, latent.condition, offset=offset), atol=1e-6)
    assert not torch.allclose(found, latent.z, atol=1e-2)
    still, little, beyond, below = Session(latent).sweep(direction, strengths=[0.0, 0.01, 40.0, -40.0])[0]
    assert same_image(still.image, image)
    assert (still.verdict.word, still.target_caption) == ("not done", "")
    if level == 0.4:
        assert (little.verdict.word, little.verdict.remedy) == ("not done", "more strength")
    for result in (beyond, below):
        assert any("clamped" in note for note in result.notes)
        assert result.verdict.word == "changed"


def test_further_strengths_of_a_latent_reuse_evaluations(colors: ColorBackbone) -> None:
    """Four of eight steps are below 0.5: one inversion, five moves to measure effects, one move per strength."""
    latent = encode(colors, noisy())
    direction, other = identify(latent, prompt="green"), identify(latent, prompt="blue")

    def cost(strength: float, moved_by: Any = direction, **more: object) -> float:
        way: dict[str, Any] = {"arm": "joint", "level": 0.5, "steps": 8} | more
        return Session(latent).manipulate(moved_by, strength=strength, **way)[0].cost.evaluations

    first, second = list[str](), list[str]()
    assert cost(0.5, progress=lambda what, *_: first.append(what)) == 7 * 4
    assert cost(0.3, progress=lambda what, *_: second.append(what)) == 4
    assert (len(first), second) == (12, ["return"] * 4), "each call reports its own progress"
    assert cost(1.0) == 4
    assert cost(0.0) == 0
    assert cost(1.0, steps=4) == 2 * 2  # another walk
    assert cost(0.6) == 4  # and the first one is still known
    assert cost(1.0, other) == 2 * 4  # another direction
    assert cost(1.0) == 2 * 4  # takes its place
    assert cost(0.5, arm="image") == 0
    both: Any = [0.2, 0.15]
    assert cost(both, [direction, other]) >= 8
    assert cost(both, [direction, other]) == 4
    assert cost(both, [other, direction]) >= 8
    assert cost(both, [direction, other], combine="inverse") >= 8
    assert cost([0.2, 0.1], [direction, other]) >= 8


def test_sessions_take_several_images_and_verbs_one(colors: ColorBackbone) -> None:
    latent = encode(colors, [noisy(1), noisy(2)])
    direction, strengths = identify(latent, prompt=["green", "blue"]), torch.tensor([-1.0, 1.0, 0.5])
    with pytest.raises(ConfigError):
        manipulate(latent, direction)
    assert len(Session(latent).manipulate(direction)) == 2
    rows = Session(latent).sweep(direction, strengths=strengths)
    assert [[result.record.strengths for result in row] for row in rows] == [[(-1.0,), (1.0,), (0.5,)]] * 2
    for row, source, target in zip(rows, (noisy(1), noisy(2)), ("green", "blue"), strict=True):
        assert all(same_image(result.source, source) and result.target_caption == target for result in row)


def test_changes_are_local_by_default_or_by_calibration(colors: ColorBackbone, latent: JointLatent) -> None:
    """For directions and captions."""
    red = identify(latent, change="gray => red", seed=3)
    assert manipulate(latent, red).record.recipe.auto_mask
    colors.defaults = {"calibration": {"fingerprint": colors.fingerprint, "settings": {"local": False}}}
    session = Session(latent)
    made = [session.manipulate(red)[0], session.sweep(red, strengths=[0.5])[0][0]]
    made += session.run(EditRequest(prompt="red room, a hat, a wall", method=stored_eim(colors)))[0]
    assert [one.record.recipe.auto_mask for one in made] == [False] * 3
    assert session.manipulate(red, auto_mask=True)[0].record.recipe.auto_mask


def test_a_direction_of_a_moved_latent_is_not_recomputed_on_the_image(latent: JointLatent, red: Direction) -> None:
    """Moved by a direction without captions, the latent has the caption and file of the image."""
    there = manipulate(latent, wordless(red), strength=0.5).latent
    assert there.captions == latent.captions
    found = identify(there, change="gray => blue")
    assert manipulate(there, found).record.directions[0].given is False
    on = manipulate(latent, found)
    assert on.record.directions[0].given
    assert same_image(le.replay(on.record, latent.backbone, gray(), directions=[found])[0].image, on.image)
    assert way(latent, [found]) == way(latent, [red]), "on this image"


def test_a_sweep_reports_its_default_method(colors: ColorBackbone) -> None:
    colors.defaults = {}
    untuned = encode(colors, gray(), source_prompt=SCENE)
    session = Session(untuned)
    for result in session.sweep(change="gray => red", strengths=[0.5, 1.0])[0]:
        assert result.method == result.record.recipe.method == "flowedit"
        assert any("flowedit" in note and "`method`" in note for note in result.notes)
    named = session.sweep(change="gray => red", strengths=[1.0], method="flowedit")[0]
    assert named[0].notes == ()
    found = identify(untuned, change="gray => red")
    ways: list[dict[str, Any]] = [{"direction": found}, {"change": "gray => red", "arm": "joint"}]
    for way in ways:
        assert {result.method for result in session.sweep(strengths=[0.5, 1.0], **way)[0]} == {"eim"}


def test_a_given_eim_sets_the_path_of_a_sweep(latent: JointLatent, red: Direction) -> None:
    given = EIM(search=HSDS(steps=3), arm="joint", level=0.5, steps=4)
    (along,) = Session(latent).sweep(red, strengths=[1.0], method=given, steps=2)[0]
    (towards,) = Session(latent).sweep(change="gray => red", strengths=[1.0], method=given)[0]
    assert along.record.recipe.settings == {**given.settings_along(), "steps": 2}
    assert towards.record.recipe.settings == given.settings_along()
    assert towards.record.directions[0].settings["steps"] == 3


class Mixed(ColorBackbone):
    """Reads all colors of a text."""

    def embed(self, texts: Sequence[str]) -> Condition:
        named = [[word for word in text.split() if word in COLORS] for text in texts]
        rows = [torch.tensor([COLORS[name] for name in names]).mean(0) for names in named]
        return Condition(tokens=torch.stack(rows)[:, None], pooled=torch.zeros(len(texts), 0))

    def caption_notes(self, texts: Sequence[str]) -> list[str]:
        return []


def test_changes_of_one_phrase_are_all_in_the_target_caption() -> None:
    model, caption = Mixed(), "a red cat on a blue sofa"
    how: dict[str, Any] = {"source_prompt": caption, "method": "eim", "progress": False}
    changes = ["red cat => green cat", "blue sofa => gray sofa"]
    result = le.edit(model, gray(), change=changes, strength=[1.0, 0.5], **how)
    assert result.target_caption == "a green cat on a gray sofa"
    alone = le.edit(model, gray(), change=changes, strength=[1.0, 0.0], **how)
    assert alone.target_caption == "a green cat on a blue sofa"
    assert "no verdict" not in result.verdict.text


def test_a_direction_that_does_not_fit_the_caption_has_no_verdict() -> None:
    model, how = Mixed(), {"progress": False}
    dog = encode(model, gray(), source_prompt="a blue dog")
    latent = encode(model, gray(), source_prompt="a red cat")
    other = identify(dog, change="blue dog => green dog", **how)
    own = identify(latent, change="red cat => gray cat", **how)
    result = manipulate(latent, [own, other], strength=[1.0, 1.0], **how)
    assert result.target_caption == "a gray cat"
    assert "no verdict" in result.verdict.text
    assert "no verdict" not in manipulate(latent, [own], **how).verdict.text
