"""A direction on other images: the same displacement, and the change applied to their captions where possible."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.encoding.encode import embed_targets, text_direction
from latentedit.encoding.joint import JointLatent
from latentedit.identification.composition import changed_by, transferred
from latentedit.identification.direction import Direction
from latentedit.models.base import Backbone
from latentedit.models.registry import load
from latentedit.numerics.condition import Condition
from latentedit.numerics.rng import stream
from tests.identification.mixtures import word_mixture
from tests.testing.gaussian_mixture import GaussianMixtureBackbone

WORDS = [
    text
    for word in ("a", "cat", "dog", "with", "smile", "frown", "hat", "cap", "fur", "glasses", "no", "red", "blue")
    for text in (word, f"{word},")
]
CHANGED = {"condition", "source_captions", "target_captions"}
CAT, DOG, NO_SMILE = "a cat with fur, smile, hat", "a dog with glasses, smile", "a dog with fur"


@pytest.fixture(scope="module")
def model() -> GaussianMixtureBackbone:
    return word_mixture(*WORDS)


@pytest.fixture(scope="module")
def portraits() -> Backbone:
    """The bundled model, with its captioner."""
    return load("portraits", device="cpu")


def images(model: Backbone, *captions: str) -> JointLatent:
    z = torch.randn(len(captions), 5, generator=stream(1, "tests"), dtype=torch.float32).to(model.dtype)
    return JointLatent(backbone=model, z=z, condition=model.embed(captions), captions=captions)


def direction_for(model: Backbone, sources: Sequence[str], targets: Sequence[str], **fields: Any) -> Direction:
    """A direction as `identify` returns it, with one row for each caption."""
    known: dict[str, Any] = {
        "z": torch.randn(len(sources), 5, generator=stream(2, "tests"), dtype=torch.float32).to(model.dtype),
        "condition": text_direction(model, sources, targets),
        "level": 0.7,
        "method": "test",
        "settings": {"steps": 4},
        "model_name": model.name,
        "model_fingerprint": model.fingerprint,
        "source_captions": tuple(sources),
        "target_captions": tuple(targets),
        "images": ("p",) * len(sources),
        "notes": ("a note",),
    }
    return Direction(**(known | fields))


def same_condition(one: Condition, other: Condition) -> bool:
    return torch.equal(one.tokens, other.tokens) and torch.equal(one.pooled, other.pooled)


def with_frown(caption: str) -> str:
    return caption.replace("smile", "frown")


def test_the_same_or_no_captions_keep_the_direction(model: Backbone) -> None:
    for captions in ((CAT,), (CAT, DOG)):
        direction = direction_for(model, captions, [with_frown(caption) for caption in captions])
        assert transferred(direction, images(model, *captions)) is direction
    for fields in ({"source_captions": ()}, {"target_captions": ()}):
        direction = direction_for(model, [CAT], [with_frown(CAT)], **fields)
        assert transferred(direction, images(model, DOG, NO_SMILE)) is direction


def test_the_change_is_applied_to_another_caption(model: Backbone) -> None:
    """At strength 1 the text is that of the changed caption, with phrases at their positions."""
    direction = direction_for(model, [CAT], ["a cat with frown, fur, hat"])
    latent = images(model, DOG)
    with model.count() as cost:
        applied = transferred(direction, latent)
    assert cost.evaluations == 0
    for field in {field.name for field in dataclasses.fields(Direction)} - CHANGED:
        assert getattr(applied, field) is getattr(direction, field)
    assert applied.source_captions == (DOG,)
    assert applied.target_captions == ("a dog with glasses, frown",)
    assert same_condition(applied.condition, text_direction(model, [DOG], ["a dog with glasses, frown"]))
    reached, expected = latent.condition + applied.condition, embed_targets(latent, applied.target_captions)
    assert torch.allclose(reached.tokens, expected.tokens, rtol=0, atol=1e-14)
    assert applied.condition.tokens[0].any(1).nonzero().flatten().tolist() == [4]
    assert direction.condition.tokens[0].any(1).nonzero().flatten().tolist() == [4]


def test_each_image_gets_the_change_of_its_row(model: Backbone) -> None:
    direction = direction_for(model, [CAT, DOG], [with_frown(CAT), DOG.replace("glasses", "cap")])
    latent = images(model, "a dog with smile", "a cat with hat, glasses")
    applied = transferred(direction, latent)
    assert applied.target_captions == ("a dog with frown", "a cat with hat, cap")
    assert same_condition(applied.condition, text_direction(model, latent.captions, applied.target_captions))
    assert applied.z is direction.z
    swapped = transferred(direction, images(model, DOG, CAT))
    assert swapped.target_captions == (with_frown(DOG), f"{CAT}, cap")


def test_a_mean_is_applied_to_any_captions_including_its_own(model: Backbone) -> None:
    """A mean of texts is not a text; the change is that of its first image, for any number of images."""
    mean = direction_for(model, [CAT, DOG], [with_frown(CAT), with_frown(DOG)]).mean()
    for captions in ((CAT, DOG), (NO_SMILE + ", smile", CAT), (DOG,), (DOG, CAT, DOG)):
        applied = transferred(mean, images(model, *captions))
        targets = tuple(with_frown(caption) for caption in captions)
        assert applied.target_captions == targets
        assert same_condition(applied.condition, text_direction(model, captions, targets))
        assert torch.equal(applied.z, mean.z)


def test_changes_that_do_not_apply_keep_the_original_text(model: Backbone) -> None:
    """Row by row: the cat loses its smile, the dog has none."""
    direction = direction_for(model, [CAT], ["a cat with fur, hat"])
    applied = transferred(direction, images(model, "a cat with smile, fur", NO_SMILE))
    assert applied.target_captions == ("a cat with fur", "")
    assert applied.source_captions == ("a cat with smile, fur", NO_SMILE)
    assert same_condition(applied.condition[:1], text_direction(model, ["a cat with smile, fur"], ["a cat with fur"]))
    assert same_condition(applied.condition[1:], direction.condition)
    two = direction_for(model, [CAT, DOG], ["a cat with fur, hat", "a dog with glasses"])
    kept = transferred(two, images(model, NO_SMILE, NO_SMILE))
    assert kept.target_captions == ("", "")
    assert same_condition(kept.condition, two.condition)
    # once the captions are lost they stay lost, with the original text
    lost = transferred(direction, images(model, NO_SMILE))
    assert lost.target_captions == ("",)
    for caption in (CAT, DOG, "a cat with smile, glasses"):
        again = transferred(lost, images(model, caption))
        assert again.target_captions == ("",)
        assert same_condition(again.condition, direction.condition)
        back = transferred(-lost, images(model, caption))
        assert back.target_captions == ("",)
        assert same_condition(back.condition, -1.0 * direction.condition)


def test_other_batch_sizes_and_models_are_rejected(model: Backbone) -> None:
    direction = direction_for(model, [CAT, DOG], [with_frown(CAT), with_frown(DOG)])
    for captions in ((DOG,), (CAT, DOG, CAT)):
        with pytest.raises(ShapeError):
            transferred(direction, images(model, *captions))
    other = dataclasses.replace(direction, model_fingerprint="other")
    with pytest.raises(ConfigError):
        transferred(other, images(model, CAT, DOG))


@pytest.mark.parametrize(
    ("caption", "source", "target", "changed"),
    [
        # in place of what it replaces, added, removed
        ("a dog with a smile, fur", "a cat with a smile", "a cat with a frown", "a dog with a frown, fur"),
        ("a dog with fur", "a cat with a smile", "a cat with a frown", "a dog with fur, a frown"),
        ("a dog with no hat", "a cat with a smile", "a cat with a smile, a hat", "a dog with a hat"),
        ("a dog with fur, a smile", "a cat with a smile, a hat", "a cat with a hat", "a dog with fur"),
        # several at once
        ("a dog, a smile, a hat", "a cat, a smile, a hat", "a cat, a frown, a cap", "a dog, a frown, a cap"),
        ("a dog with fur", "a cat with fur", "a cat with fur, a hat, a cap", "a dog with fur, a hat, a cap"),
        # the source caption itself
        ("anything", "anything", "something else", "something else"),
        # nothing to remove, nothing to add
        ("a dog with fur", "a cat with a smile, fur", "a cat with fur", None),
        ("a dog with a smile", "a cat with a smile, a hat", "a cat with a frown", None),
        ("a dog with a frown", "a cat with a smile", "a cat with a frown", None),
        # a subject is replaced, never added
        ("a cat with fur", "a cat with a hat", "a dog with a hat", "a dog with fur"),
        ("a bird with fur", "a cat with a hat", "a dog with a hat", None),
        ("green", "red", "blue", None),
        ("red and green", "red", "blue", "blue and green"),
        ("a bird on a wall", "a red cat on a sofa", "a blue cat on a sofa", None),
        # empty captions
        ("a cat with a smile", "a cat with a smile, a hat", "", None),
        ("a cat", "", "a hat", None),
        ("a cat", ",", "a hat", "a cat, a hat"),
    ],
)
def test_changed_by_edits_plain_captions(
    model: Backbone, caption: str, source: str, target: str, changed: str | None
) -> None:
    assert changed_by(model, caption, source, target) == changed


FULL = (
    "a person with pale skin, short black hair, open eyes, flat eyebrows, a smile, no glasses, no beard, a red hoodie, "
    "on a blue background"
)
OTHER = (
    "a person with dark skin, long blonde hair, closed eyes, flat eyebrows, a sad mouth, an eyepatch, a gray beard, "
    "a green sweater, on a pink background"
)


@pytest.mark.slow_cases("no glasses-glasses-replacement0")
@pytest.mark.parametrize(
    ("old", "new", "replacement"),
    [
        ("no glasses", "glasses", ("an eyepatch", "glasses")),
        ("a smile", "a grimace", ("a sad mouth", "a grimace")),
        ("short black hair", "a bald head", ("long blonde hair", "a bald head")),
        ("a red hoodie", "a blue t-shirt", ("a green sweater", "a blue shirt")),
        ("a smile", "a sad mouth", None),
        ("a person with", "a man with", ("a person with", "a man with")),
    ],
)
def test_changed_by_uses_the_grammar_of_portraits(
    portraits: Backbone, old: str, new: str, replacement: tuple[str, str] | None
) -> None:
    """The new phrase of an attribute replaces the old one, even if the caption words that differently."""
    changed = changed_by(portraits, OTHER, FULL, FULL.replace(old, new))
    assert changed == (None if replacement is None else OTHER.replace(*replacement))
