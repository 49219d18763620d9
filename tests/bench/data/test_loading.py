import json
from pathlib import Path

import pytest
from tests.api.manifests.pictures import write_picture

from latentedit.core.errors import ConfigError
from latentedit_bench.data.loading import load_dataset, taking_turns

ROW = {"picture": "a.png", "source_caption": "a cat", "target_caption": "a dog"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_picture(tmp_path / "a.png")
    return tmp_path


TABLE = "picture,source_caption,target_caption\na.png,a cat,a dog\n"


@pytest.mark.parametrize("ending", ["json", "yaml", "yml", "YML", "csv"])
def test_a_list_of_items_and_a_table_are_manifests(folder: Path, ending: str) -> None:
    path = folder / f"edits.{ending}"
    path.write_text(TABLE if ending == "csv" else json.dumps([ROW]))  # JSON is YAML
    (item,) = load_dataset(str(path) if ending == "csv" else path).items
    assert (item.source_caption, item.target_caption) == ("a cat", "a dog")


def test_yaml_with_target_prompts_is_flowedits(folder: Path) -> None:
    path = folder / "edits.yaml"
    path.write_text("- {init_img: a.png, source_prompt: a cat, target_prompts: [a dog, a fox]}")
    assert [item.target_caption for item in load_dataset(path).items] == ["a dog", "a fox"]


def test_a_folder_with_a_mapping_is_pie_bench(folder: Path) -> None:
    (folder / "mapping_file.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"mapping_file\.json.*the mapping: it has no entries"):
        load_dataset(folder)


@pytest.mark.parametrize(("name", "what"), [(".", "a folder"), ("a.png", "another file"), ("b.csv", "nothing")])
def test_anything_else_is_refused_with_what_can_be_read(folder: Path, name: str, what: str) -> None:
    with pytest.raises(ConfigError, match=rf"{what}.*PIE-Bench.*FlowEdit.*\.csv, \.json"):
        load_dataset(folder / name)


@pytest.mark.nightly
def test_data_sets_take_turns() -> None:
    full, partial = (load_dataset("counterfactual-portraits", captions=one).head(5) for one in ("full", "partial"))
    found = taking_turns([partial, full])
    assert found.items == tuple((partial, full)[place % 2].items[place] for place in range(5))
    assert taking_turns([full]).fingerprint == full.fingerprint
