"""The cards of the bundled models are up to date."""

import pytest

from latentedit.models.model_settings import read_settings
from latentedit.models.registry import bundled_folder
from training.folder import card_text
from training.recipes import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_the_stored_card_equals_the_generated_one(name: str) -> None:
    folder = bundled_folder(name)
    assert card_text(read_settings(folder), name) == (folder / "README.md").read_text(encoding="utf-8")
