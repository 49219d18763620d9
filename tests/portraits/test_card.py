"""The cards of the bundled models say what is stored with them, and are what their generator writes."""

import pytest

from latentedit.models.registry import bundled_folder
from latentedit.models.settings_file import read_settings
from latentedit_portraits.card import card_text


@pytest.mark.parametrize(
    "name", ["portraits", "portraits-unet", "portraits-kontext", "pixels-discs", "pixels-portraits"]
)
def test_the_shipped_card_is_what_the_generator_writes(name: str) -> None:
    folder = bundled_folder(name)
    assert card_text(read_settings(folder), name) == (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["portraits", "portraits-unet", "portraits-kontext"])
def test_the_card_states_the_stored_facts(name: str) -> None:
    settings = {
        "description": "a test",
        "vocabulary": ["a", "b"],
        "recipe": "cpu",
        "training_seconds": {"text": 12},
        "guidance": 2.5,
        "quality": {"reader accuracy": {"mean": 0.75, "hair": 0.5}},
    }
    card = card_text(settings, name)
    for fact in (
        f"# {name}\n",
        f"train {name} --recipe cpu",
        "of 2 words",
        "text 12",
        "2.5",
        "| 0.75 | 0.5 |",
        "hair (6)",
    ):
        assert fact in card
    assert "text 12. It was fine-tuned.\n" in card_text({**settings, "history": "It was fine-tuned."}, name)
