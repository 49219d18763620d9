"""Target captions from whole texts and from changes, in plain text and in the grammar of a model's captioner."""

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
def plain() -> Backbone:
    """A model without a captioner."""
    return ColorBackbone()


@pytest.fixture(scope="module")
def portraits() -> Backbone:
    """The bundled model, whose captioner knows opposites."""
    return load("portraits", device="cpu")


def test_whole_texts(plain: Backbone) -> None:
    assert target_captions(plain, [MAN, WOMAN], to="a dog ", change=None) == ("a dog ", "a dog ")
    assert target_captions(plain, [MAN, WOMAN], to=("a", "b"), change=None) == ("a", "b")
    with pytest.raises(ConfigError):
        target_captions(plain, [MAN], to="", change=None)
    with pytest.raises(ConfigError):
        target_captions(plain, [MAN], to=None, change=None)
    with pytest.raises(ConfigError):
        target_captions(plain, [MAN], to="", change=HAT)


def test_changes_of_captions(plain: Backbone) -> None:
    """The second finds what the first one left, and not the other way round."""
    for change in ("a hat => a cap", (HAT,)):
        made = target_captions(plain, [MAN, WOMAN], to=None, change=change)
        assert made == ("a man with a cap, a smile", "A woman with a cap, glasses.")
    made = target_captions(plain, [MAN], to=None, change=[HAT, "a cap => two caps", "=> a dog"])
    assert made == ("a man with two caps, a smile, a dog",)
    with pytest.raises(ConfigError):
        target_captions(plain, [MAN], to=None, change=[CAP, HAT])
    with pytest.raises(ConfigError):
        target_captions(plain, [MAN, WOMAN], to=None, change="a smile => a frown")
    with pytest.raises(ConfigError):
        target_captions(plain, [MAN], to=None, change=[])


@pytest.mark.slow
def test_the_captioners_grammar_comes_first(plain: Backbone, portraits: Backbone) -> None:
    """Glasses that go are denied where the captioner knows how; elsewhere they are left out."""
    caption = "a person with glasses, a smile"
    gone = Change(old="glasses", new="")
    assert changed_caption(plain, caption, gone) == "a person with a smile"
    assert changed_caption(portraits, caption, gone) == "a person with no glasses, a smile"
    made = target_captions(portraits, [caption], to=None, change=[gone, "=> a sad mouth", "no glasses => an eyepatch"])
    assert made == ("a person with an eyepatch, a sad mouth",)
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
        # one change comes again
        ("A man with gray hair, glasses, a hat.", 3, ("A man with gray hair, glasses, a hat.",) * 3),
        # one exchanged, one taken out, in turn
        ("A man with gray hair, a hat.", 2, ("A man with gray hair, glasses, a hat.", "A man with red hair, a hat.")),
        # three changes in two captions
        (
            "A man with gray hair, no glasses, no hat.",
            2,
            ("A man with gray hair, glasses, no hat.", "A man with red hair, no glasses, a hat."),
        ),
        # what is added comes last; case and spaces are no change
        ("A man with Red  hair, glasses, a hat, a beard.", 1, ("A man with red hair, glasses, a hat, a beard.",)),
        # another sentence
        ("Two dogs on a meadow", 2, ("Two dogs on a meadow",) * 2),
    ],
)
def test_every_change_is_made_once_or_again(target: str, parts: int, expected: tuple[str, ...]) -> None:
    assert partial_targets(SOURCE, target, parts) == expected
