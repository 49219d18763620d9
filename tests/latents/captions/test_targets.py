"""Target captions from whole texts and from changes, by the rules for plain text and by a captioner's grammar."""

import pytest

from latentedit.core.errors import ConfigError
from latentedit.latents.captions.change import Change
from latentedit.latents.encode import changed_caption, partial_targets, target_captions
from latentedit.models.base import Backbone
from latentedit.models.registry import load
from tests.editors.colors import ColorBackbone

MAN, WOMAN = "a man with a hat, a smile", "A woman with a hat, glasses."
HAT, CAP = Change(old="a hat", new="a cap"), Change(old="a cap", new="two caps")


@pytest.fixture
def plain_model() -> Backbone:
    """A model without a captioner."""
    return ColorBackbone()


@pytest.fixture(scope="module")
def portraits() -> Backbone:
    """The bundled model, whose captioner knows opposites."""
    return load("portraits", device="cpu")


def test_targets_from_whole_texts(plain_model: Backbone) -> None:
    assert target_captions(plain_model, [MAN, WOMAN], to="a dog ", change=None) == ("a dog ", "a dog ")
    assert target_captions(plain_model, [MAN, WOMAN], to=("a", "b"), change=None) == ("a", "b")
    with pytest.raises(ConfigError):
        target_captions(plain_model, [MAN], to="", change=None)
    with pytest.raises(ConfigError):
        target_captions(plain_model, [MAN], to=None, change=None)
    with pytest.raises(ConfigError):
        target_captions(plain_model, [MAN], to="", change=HAT)


def test_targets_from_changes(plain_model: Backbone) -> None:
    """Each change applies to the result of the previous one."""
    for change in ("a hat => a cap", (HAT,)):
        targets = target_captions(plain_model, [MAN, WOMAN], to=None, change=change)
        assert targets == ("a man with a cap, a smile", "A woman with a cap, glasses.")
    targets = target_captions(plain_model, [MAN], to=None, change=[HAT, "a cap => two caps", "=> a dog"])
    assert targets == ("a man with two caps, a smile, a dog",)
    with pytest.raises(ConfigError):
        target_captions(plain_model, [MAN], to=None, change=[CAP, HAT])
    with pytest.raises(ConfigError):
        target_captions(plain_model, [MAN, WOMAN], to=None, change="a smile => a frown")
    with pytest.raises(ConfigError):
        target_captions(plain_model, [MAN], to=None, change=[])


@pytest.mark.slow
def test_the_grammar_of_the_captioner_takes_precedence(plain_model: Backbone, portraits: Backbone) -> None:
    """Removed glasses become "no glasses" if the captioner has an opposite, else they are left out."""
    caption = "a person with glasses, a smile"
    removal = Change(old="glasses", new="")
    assert changed_caption(plain_model, caption, removal) == "a person with a smile"
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
