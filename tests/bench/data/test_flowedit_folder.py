from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.api.manifests.pictures import write_picture

from latentedit.core.errors import ConfigError, FileFormatError
from latentedit_bench.data.flowedit_folder import is_flowedit, load_flowedit

LAYOUT = """
-
    init_img:  flowedit_data/bear.png

    source_prompt: A brown bear
        in a stream.
    target_prompts:
     - A black bear
      in a stream.
     - A panda.

    target_codes:
     - 1_black_bear
     - 2_panda
-
    input_img: data/owl.png
    source_prompt: An owl.
    target_prompts: [A white owl.]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The repository's: pictures in Images beside the file, or at the path from the root."""
    write_picture(tmp_path / "Data" / "Images" / "bear.png")
    write_picture(tmp_path / "data" / "owl.png", (8, 8))
    return tmp_path / "Data"


def write(folder: Path, text: str) -> Path:
    path = folder / "flowedit.yaml"
    path.write_text(text)
    return path


def test_every_target_is_an_item_in_the_group_of_its_picture(folder: Path) -> None:
    first, second, third = load_flowedit(write(folder, LAYOUT)).items
    assert [item.id for item in (first, second, third)] == ["bear/1.1", "bear/1.2", "owl/2.1"]
    assert first.source_caption == second.source_caption == "A brown bear in a stream."
    assert first.target_caption == "A black bear in a stream."
    assert second.target_caption == "A panda."
    assert first.group == second.group != third.group
    assert (first.picture().size, third.picture().size) == ((6, 4), (8, 8))


def test_one_picture_in_two_entries_is_no_fault(folder: Path) -> None:
    items = load_flowedit(write(folder, LAYOUT + LAYOUT)).items
    assert len({item.id for item in items}) == 6
    assert len({item.group for item in items}) == 2


def test_every_fault_is_told_at_once(folder: Path) -> None:
    sound = {"init_img": "bear.png", "source_prompt": "A bear.", "target_prompts": ["A panda."]}
    cases: list[tuple[Any, str]] = [
        (sound | {"init_img": "missing.png"}, "entry 1: init_img missing.png does not exist"),
        ({key: value for key, value in sound.items() if key != "init_img"}, "entry 2: its picture is missing"),
        (sound | {"source_prompt": None}, "entry 3: source_prompt is missing"),
        (sound | {"target_prompts": []}, "entry 4: target_prompts is empty"),
        (sound | {"target_prompts": "A panda."}, "entry 5: target_prompts is text, not a list of texts"),
        (sound | {"target_prompts": ["A panda.", 4]}, "entry 6: target prompt 2 is a number, not text"),
        (sound | {"init_img": 3}, "entry 7: init_img is a number, not text"),
        ("A bear.", "entry 8: it is text, not an object"),
    ]
    with pytest.raises(ConfigError) as caught:
        load_flowedit(write(folder, yaml.safe_dump([row for row, _ in cases])))
    assert [text for _, text in cases if text not in str(caught.value)] == []
    assert f"has faults ({len(cases)}): " in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "a: 1"])
def test_a_file_without_entries_is_told(folder: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="a list of entries was expected"):
        load_flowedit(write(folder, text))


def test_malformed_yaml_is_one_error(folder: Path) -> None:
    with pytest.raises(FileFormatError, match="line 2"):
        load_flowedit(write(folder, "- a: 1\n b: [\n"))


@pytest.mark.parametrize(
    ("content", "is_one"),
    [(yaml.safe_load(LAYOUT), True), ([{"picture": "a.png"}], False), ({"target_prompts": []}, False), (None, False)],
)
def test_the_layout_is_known_by_its_target_prompts(content: Any, is_one: bool) -> None:
    assert is_flowedit(content) == is_one
