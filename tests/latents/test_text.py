from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentedit.core.condition import Condition
from latentedit.latents.captions.change import align_captions, changed_phrases
from latentedit.latents.encode import embed_targets, text_direction
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone
from tests.directions.mixtures import word_mixture

PHRASES = st.sampled_from(["a hat", "a red hat", "no hat", "blue eyes", "A  Smile", "smiling", "on a wall", "2 cats"])
LISTS = st.lists(PHRASES, max_size=7)
DISTINCT = st.lists(PHRASES, max_size=7, unique=True)
TEXTS = st.text(st.sampled_from("ab ,.wih\n1"), max_size=30) | LISTS.map(", ".join)


@given(DISTINCT, DISTINCT)
def test_shared_phrases_keep_the_order_of_the_source_and_added_ones_come_last(
    source: list[str], target: list[str]
) -> None:
    aligned = align_captions(", ".join(source), ", ".join(target))[1]
    assert align_captions(", ".join(source), aligned)[1] == aligned
    phrases = [phrase for phrase in aligned.split(", ") if phrase]
    positions = [source.index(phrase) for phrase in phrases if phrase in source]
    assert positions == sorted(positions)
    if len(source) <= len(target):
        assert positions == [position for position, phrase in enumerate(phrases[: len(source)]) if phrase in source]


@given(TEXTS, TEXTS)
def test_alignment_keeps_all_words(source: str, target: str) -> None:
    def letters(text: str) -> Counter[str]:
        return Counter(text) - Counter({space: len(text) for space in ", \n"})

    unchanged, aligned = align_captions(source, target)
    assert unchanged == source
    assert letters(aligned) == letters(target)
    assert align_captions(source, source) == (source, source)
    assert changed_phrases(source, source) == ((), ())
    if "," not in target:
        assert aligned == target


@pytest.mark.parametrize(
    ("source", "target", "aligned"),
    [
        ("a, b, c", "c, b, a", "a, b, c"),
        ("a, b, c", "d, c, a", "a, d, c"),
        ("a, b, c", "x, a, b, c", "a, b, c, x"),
        ("a, b, c, d", "d, b", "b, d"),
        ("a, a, b", "b, a, a", "a, a, b"),
        # the most informative word decides: "beard", not "a"
        ("a smile, no beard", "a beard, a grimace", "a grimace, a beard"),
        ("short brown hair, a red beard", "a brown beard, short red hair", "short red hair, a brown beard"),
        ("a smile, closed eyes", "eyes closed, a sad mouth", "a sad mouth, eyes closed"),
        # a lead stays in front if more phrases are then shared, else it is part of its phrase
        ("a man with a, b", "a woman with b, c", "a woman with c, b"),
        ("a, b", "a woman with b, a", "a woman with a, b"),
        ("a cat with a ball, b", "b, a cat with a stick", "a cat with a stick, b"),
        (
            "a cat with a ball, a dog with a stick",
            "a cat with a stick, a dog with a ball",
            "a dog with a ball, a cat with a stick",
        ),
        # an adjective is not a lead
        ("red shirt, trousers", "red trousers, shirt", "shirt, red trousers"),
        # endings, numbers, case
        ("a hat, a beard.", "a beard, a hat.", "a hat, a beard."),
        ("1,000 cats, a hat", "a hat, 1,000 cats", "1,000 cats, a hat"),
        ("A Hat, a beard", "a beard,  a  hat", "a  hat, a beard"),
    ],
)
def test_alignment_examples(source: str, target: str, aligned: str) -> None:
    assert align_captions(source, target)[1] == aligned


def test_changed_phrases() -> None:
    assert changed_phrases("a man with a, b, c.", "a man with c, d") == (("a", "b"), ("d",))
    assert changed_phrases("a man with a", "a woman with a") == (("a man with",), ("a woman with",))
    assert changed_phrases("a, a, b", "A, b, b") == (("a",), ("b",))
    assert changed_phrases("", "a") == ((), ("a",))


@pytest.fixture
def backbone() -> GaussianMixtureBackbone:
    """A mixture that distinguishes words with and without a comma."""
    return word_mixture("a", "red", "blue", "hat", "smile", "a,", "hat,", "smile,")


def test_targets_are_embedded_in_aligned_order(backbone: GaussianMixtureBackbone) -> None:
    """Each target in the order of its own source, bit for bit."""
    source, target = ["red hat, a smile", "a hat, red"], ["a smile, blue hat", "red, smile, a hat"]

    def embedded(source: list[str], target: list[str]) -> Condition:
        z = torch.zeros(len(source), *backbone.latent_shape(0, 0))
        latent = JointLatent(backbone=backbone, z=z, condition=backbone.embed(source), captions=tuple(source))
        return embed_targets(latent, target)

    aligned = embedded(source, target)
    assert torch.equal(aligned.tokens, backbone.embed(["blue hat, a smile", "a hat, red, smile"]).tokens)
    assert not torch.equal(aligned.tokens, backbone.embed(target).tokens)
    assert torch.equal(aligned.tokens[1:], embedded(source[1:], target[1:]).tokens)
    assert torch.equal(embedded(source, source).tokens, backbone.embed(source).tokens)
    difference = text_direction(backbone, source, target)
    assert torch.equal(difference.tokens, (aligned - backbone.embed(source)).tokens)
