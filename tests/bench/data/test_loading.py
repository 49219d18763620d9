"""Manifests, the files of FlowEdit and PIE-Bench, and their faults."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.api.manifests.pictures import write_picture

from latentedit.core.errors import ConfigError, FileFormatError, LatentEditError
from latentedit_bench.data.flowedit_folder import is_flowedit, load_flowedit
from latentedit_bench.data.loading import load_dataset, taking_turns
from latentedit_bench.data.pie_bench_folder import SIDE, RunLengths, load_pie_bench

ROW = {"picture": "a.png", "source_caption": "a cat", "target_caption": "a dog"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_picture(tmp_path / "a.png")
    return tmp_path


TABLE = "picture,source_caption,target_caption\na.png,a cat,a dog\n"


@pytest.mark.parametrize("ending", ["json", "yaml", "yml", "YML", "csv"])
def test_lists_and_tables_are_manifests(folder: Path, ending: str) -> None:
    path = folder / f"edits.{ending}"
    path.write_text(TABLE if ending == "csv" else json.dumps([ROW]))  # JSON is YAML
    (item,) = load_dataset(str(path) if ending == "csv" else path).items
    assert (item.source_caption, item.target_caption) == ("a cat", "a dog")


@pytest.mark.parametrize(("name", "what"), [(".", "a folder"), ("a.png", "another file"), ("b.csv", "nothing")])
def test_other_files_are_refused(folder: Path, name: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        load_dataset(folder / name)


@pytest.mark.nightly
def test_data_sets_take_turns() -> None:
    full, partial = (load_dataset("counterfactual-portraits", captions=one).head(5) for one in ("full", "partial"))
    found = taking_turns([partial, full])
    assert found.items == tuple((partial, full)[place % 2].items[place] for place in range(5))
    assert taking_turns([full]).fingerprint == full.fingerprint


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
def flowedit(tmp_path: Path) -> Path:
    """The repository's: pictures in Images beside the file, or at the path from the root."""
    write_picture(tmp_path / "Data" / "Images" / "bear.png")
    write_picture(tmp_path / "data" / "owl.png", (8, 8))
    return tmp_path / "Data"


def write_yaml(flowedit: Path, text: str) -> Path:
    path = flowedit / "flowedit.yaml"
    path.write_text(text)
    return path


def test_every_target_is_an_item_in_the_group_of_its_picture(flowedit: Path) -> None:
    first, second, third = load_dataset(write_yaml(flowedit, LAYOUT)).items
    assert [item.id for item in (first, second, third)] == ["bear/1.1", "bear/1.2", "owl/2.1"]
    assert first.source_caption == second.source_caption == "A brown bear in a stream."
    assert first.target_caption == "A black bear in a stream."
    assert second.target_caption == "A panda."
    assert first.group == second.group != third.group
    assert (first.picture().size, third.picture().size) == ((6, 4), (8, 8))
    twice = load_flowedit(write_yaml(flowedit, LAYOUT + LAYOUT)).items
    assert (len({item.id for item in twice}), len({item.group for item in twice})) == (6, 2)


def test_all_faults_of_flowedits_file_are_reported_together(flowedit: Path) -> None:
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
        load_flowedit(write_yaml(flowedit, yaml.safe_dump([row for row, _ in cases])))
    assert [text for _, text in cases if text not in str(caught.value)] == []
    assert f"has faults ({len(cases)}): " in str(caught.value)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        *((text, ConfigError, "list of entries") for text in ("", "[]", "a: 1")),
        ("- a: 1\n b: [\n", FileFormatError, "line 2"),
    ],
)
def test_a_file_without_entries_is_refused(flowedit: Path, text: str, error: type[LatentEditError], said: str) -> None:
    with pytest.raises(error, match=said):
        load_flowedit(write_yaml(flowedit, text))
    assert not is_flowedit({"target_prompts": []})


ENTRY = {
    "image_path": "0_random_140/1.png",
    "original_prompt": "a [slanted] mountain bicycle",
    "editing_prompt": "a [rusty] mountain bicycle",
    "editing_instruction": "make it rusty",
    "editing_type_id": "7",
    "blended_word": "bicycle bicycle",
    "mask": [SIDE + 1, 3],
}


@pytest.fixture
def pie_bench(tmp_path: Path) -> Path:
    write_picture(tmp_path / "annotation_images" / "0_random_140" / "1.png", (SIDE, SIDE))
    write_picture(tmp_path / "annotation_images" / "small.png", (8, 4))
    return tmp_path


def write_mapping(pie_bench: Path, entries: Any) -> Path:
    (pie_bench / "mapping_file.json").write_text(json.dumps(entries))
    return pie_bench


def test_an_entry_is_an_item(pie_bench: Path) -> None:
    dataset = load_dataset(write_mapping(pie_bench, {"000": ENTRY, "001": ENTRY | {"editing_type_id": 0, "mask": []}}))
    first, second = dataset.items
    assert first.id == "000"
    assert first.source_caption == "a slanted mountain bicycle"
    assert first.target_caption == "a rusty mountain bicycle"
    assert (first.kind, second.kind) == ("change attribute material", "random")
    assert first.group == second.group
    assert first.about == {"editing_instruction": "make it rusty", "blended_word": "bicycle bicycle"}
    assert first.picture().size == (SIDE, SIDE)
    assert first.mask is not None
    assert np.argwhere(first.mask()).tolist() == [[1, 1], [1, 2], [1, 3]]
    assert pickle.loads(pickle.dumps(dataset)).fingerprint == dataset.fingerprint


@given(runs=st.lists(st.tuples(st.integers(0, SIDE * SIDE + 9), st.integers(0, SIDE * SIDE + 9)), max_size=6))
def test_runs_are_read_row_by_row_and_cut_at_the_end(runs: list[tuple[int, int]]) -> None:
    """Against the rule for a single pixel: some run covers it."""
    mask = RunLengths(tuple(number for run in runs for number in run))()
    index = np.arange(SIDE * SIDE)
    expected = np.zeros(SIDE * SIDE, dtype=bool)
    for start, length in runs:
        expected |= (index >= start) & (index - start < length)
    assert mask.shape == (SIDE, SIDE)
    assert np.array_equal(mask.reshape(-1), expected)


FAULTS = [
    ({"image_path": "missing.png"}, "image_path missing.png does not exist"),
    ({"image_path": "small.png"}, "its picture is 8x4 pixels, not the 512x512 of its mask"),
    ({"image_path": None}, "image_path is missing"),
    ({"original_prompt": 3}, "original_prompt is a number, not text"),
    ({"editing_prompt": " "}, "editing_prompt is empty"),
    ({"editing_type_id": "10"}, "editing_type_id is '10', not one of 0 to 9"),
    ({"editing_type_id": True}, "editing_type_id is True, not one of 0 to 9"),
    ({"mask": "0 3"}, "mask is text, not a list of starts and lengths"),
    ({"mask": [1, 2, 3]}, "mask has 3 numbers; starts and lengths come in pairs"),
    ({"mask": [1, -2]}, "mask holds something else than whole numbers from 0 up"),
    ({"mask": [1, 2.5]}, "mask holds something else than whole numbers from 0 up"),
]


def test_all_faults_of_a_mapping_are_reported_together(pie_bench: Path) -> None:
    entries: dict[str, Any] = {f"k{index}": ENTRY | change for index, (change, _) in enumerate(FAULTS)}
    entries |= {"bare": {}, "text": "a cat"}
    told = [f"entry 'k{index}': {text}" for index, (_, text) in enumerate(FAULTS)]
    needed = ("image_path", "original_prompt", "editing_prompt", "editing_type_id", "mask")
    told += [f"entry 'bare': {name} is missing" for name in needed] + ["entry 'text': it is text, not an object"]
    with pytest.raises(ConfigError) as caught:
        load_pie_bench(write_mapping(pie_bench, entries))
    assert [text for text in told if text not in str(caught.value)] == []
    assert f"has faults ({len(told)}): " in str(caught.value)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("[]", ConfigError, "it is a list"),
        ("{}", ConfigError, "no entries"),
        ('{"000": {}', FileFormatError, "syntax error"),
    ],
)
def test_a_mapping_without_entries_is_refused(
    pie_bench: Path, text: str, error: type[LatentEditError], said: str
) -> None:
    (pie_bench / "mapping_file.json").write_text(text)
    with pytest.raises(error, match=said):
        load_pie_bench(pie_bench)
