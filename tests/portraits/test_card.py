from pathlib import Path

import pytest

from latentedit.models.settings_file import write_settings
from latentedit_portraits.attributes import VALUES
from latentedit_portraits.card import write_card


@pytest.mark.parametrize("name", ["portraits", "portraits-unet"])
def test_the_card_states_the_stored_facts(name: str, tmp_path: Path) -> None:
    settings = {
        "description": "a test",
        "vocabulary": ["a", "b"],
        "recipe": "cpu",
        "training_seconds": {"text": 12},
        "guidance": 2.5,
        "quality": {"reader accuracy": {"mean": 0.75, "hair": 0.5}},
    }
    write_settings(tmp_path, settings)
    write_card(tmp_path, name, VALUES)
    card = (tmp_path / "README.md").read_text()
    for fact in (
        f"# {name}\n",
        f"models train {name} --recipe cpu",
        "of 2 words",
        "text 12",
        "2.5",
        "| mean | hair |",
        "| 0.75 | 0.5 |",
        "hair (6)",
    ):
        assert fact in card
    assert "fine-tuned" not in card
    write_settings(tmp_path, {"history": "The reader was fine-tuned."})
    write_card(tmp_path, name, VALUES)
    assert "text 12. The reader was fine-tuned.\n" in (tmp_path / "README.md").read_text()
