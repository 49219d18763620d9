"""Target captions from whole texts and from changes, by the rules for plain text and by a captioner's grammar."""

import pytest
import torch

from latentedit.core.errors import ConfigError
from latentedit.editors.baselines.splitflow import partial_targets
from latentedit.encoding.captions.change import Change
from latentedit.encoding.encode import changed_caption, embed_targets, target_captions, text_direction
from latentedit.encoding.joint import JointLatent
from latentedit.models.registry import load
from latentedit.numerics.condition import Condition
from tests.editors.colors import ColorBackbone
from tests.identification.mixtures import word_mixture

MAN, WOMAN = "a man with a hat, a smile", "A woman with a hat, glasses."
HAT, CAP = Change(old="a hat", new="a cap"), Change(old="a cap", new="two caps")


PLAIN = ColorBackbone()  # has no captioner


def test_targets_from_whole_texts() -> None:
    assert target_captions(PLAIN, [MAN, WOMAN], to="a dog ", change=None) == ("a dog ", "a dog ")
    assert target_captions(PLAIN, [MAN, WOMAN], to=("a", "b"), change=None) == ("a", "b")
    for given in ({"to": "", "change": None}, {"to": None, "change": None}, {"to": "", "change": HAT}):
        with pytest.raises(ConfigError):
            target_captions(PLAIN, [MAN], **given)


def test_targets_from_changes() -> None:
    """Each change applies to the result of the previous one."""
    for change in ("a hat => a cap", (HAT,)):
        targets = target_captions(PLAIN, [MAN, WOMAN], to=None, change=change)
        assert targets == ("a man with a cap, a smile", "A woman with a cap, glasses.")
    targets = target_captions(PLAIN, [MAN], to=None, change=[HAT, "a cap => two caps", "=> a dog"])
    assert targets == ("a man with two caps, a smile, a dog",)
    for captions, change in (([MAN], [CAP, HAT]), ([MAN, WOMAN], "a smile => a frown"), ([MAN], [])):
        with pytest.raises(ConfigError):
            target_captions(PLAIN, captions, to=None, change=change)


def test_the_grammar_of_the_captioner_takes_precedence() -> None:
    """Removed glasses become "no glasses" if the captioner has an opposite, else they are left out."""
    portraits, caption = load("portraits", device="cpu"), "a person with glasses, a smile"
    removal = Change(old="glasses", new="")
    assert changed_caption(PLAIN, caption, removal) == "a person with a smile"
    assert changed_caption(portraits, caption, removal) == "a person with no glasses, a smile"
    targets = target_captions(
        portraits, [caption], to=None, change=[removal, "=> a sad mouth", "no glasses => an eyepatch"]
    )
    assert targets == ("a person with an eyepatch, a sad mouth",)
    with pytest.raises(ConfigError):
        changed_caption(portraits, caption, Change(old="", new="a smile"))


SOURCE = "A man with red hair, glasses, a hat."


@pytest.mark.parametrize(
    ("target", "parts", "expected"),
    [
        (
            "A man with gray hair, glasses, no hat.",
            2,
            ("A man with gray hair, glasses, a hat.", "A man with red hair, glasses, no hat."),
        ),
        # a single change is repeated
        ("A man with gray hair, glasses, a hat.", 3, ("A man with gray hair, glasses, a hat.",) * 3),
        # one replaced, one removed
        ("A man with gray hair, a hat.", 2, ("A man with gray hair, glasses, a hat.", "A man with red hair, a hat.")),
        # three changes in two captions
        (
            "A man with gray hair, no glasses, no hat.",
            2,
            ("A man with gray hair, glasses, no hat.", "A man with red hair, no glasses, a hat."),
        ),
        # additions come last; case and spaces do not count
        ("A man with Red  hair, glasses, a hat, a beard.", 1, ("A man with red hair, glasses, a hat, a beard.",)),
        # a different sentence
        ("Two dogs on a meadow", 2, ("Two dogs on a meadow",) * 2),
    ],
)
def test_partial_targets_distribute_the_changes(target: str, parts: int, expected: tuple[str, ...]) -> None:
    assert partial_targets(SOURCE, target, parts) == expected


def test_targets_are_embedded_in_aligned_order() -> None:
    """Each target in the order of its own source, bit for bit; words with and without a comma differ."""
    backbone = word_mixture("a", "red", "blue", "hat", "smile", "a,", "hat,", "smile,")
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
