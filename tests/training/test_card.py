"""The cards of the bundled models say what is stored with them, and are what their generator writes."""

import pytest

from latentedit.models.model_settings import read_settings
from latentedit.models.registry import bundled_folder
from training.folder import card_text
from training.recipes import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_the_shipped_card_is_what_the_generator_writes(name: str) -> None:
    folder = bundled_folder(name)
    assert card_text(read_settings(folder), name) == (folder / "README.md").read_text(encoding="utf-8")


def test_the_card_states_the_stored_facts() -> None:
    settings = {"training_seconds": {"text": 12}, "quality": {"reader accuracy": {"mean": 0.75, "hair": 0.5}}}
    card = card_text(settings, "portraits")
    assert "python -m training portraits`. Seconds of training: text 12.\n" in card
    assert "| 0.75 | 0.5 |" in card
    assert "text 12. It was fine-tuned.\n" in card_text({**settings, "history": "It was fine-tuned."}, "portraits")
