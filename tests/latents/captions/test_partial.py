"""Captions that make some of the changes between two others."""

import pytest

from latentedit.latents.captions.partial import partial_targets

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
