"""Manifests, FlowEdit's and PIE-Bench's own files, and every fault that they may have."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from latentedit.core import ConfigError, FileFormatError, OutputError
from latentedit_bench.data.items import Item
from latentedit_bench.data.loading import (
    FILE_NAME,
    KINDS,
    SIDE,
    is_flowedit,
    load_dataset,
    load_flowedit,
    load_items,
    load_pie_bench,
    mask_of,
    taking_turns,
    write_manifest,
)
from tests.batch.images import write_image

ROW = {"image": "a.png", "source_caption": "a cat", "target_caption": "a dog"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_image(tmp_path / "a.png")
    return tmp_path


TABLE = "image,source_caption,target_caption\na.png,a cat,a dog\n"


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


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", ConfigError),
        ("[]", ConfigError),
        ("{}", ConfigError),
        ("- a: 1\n b: [\n", FileFormatError),
        ('{"000": {}', FileFormatError),
    ],
)
def test_files_without_entries_and_malformed_ones_are_refused(folder: Path, text: str, error: type[Exception]) -> None:
    """A folder with a mapping is PIE-Bench's."""
    for name in ("edits.yaml", "mapping_file.json"):
        (folder / name).write_text(text)
    for load, place in ((load_flowedit, folder / "edits.yaml"), (load_dataset, folder)):
        with pytest.raises(FileFormatError if load is load_dataset and not text else error):
            load(place)


@pytest.mark.parametrize("name", [".", "a.png", "b.csv"])
def test_anything_else_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        load_dataset(folder / name)


def test_items_are_written_and_read_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first, second = (Image.fromarray(rng.integers(0, 256, (3, 5, 3), dtype=np.uint8)) for _ in range(2))
    mask = rng.random((3, 5)) < 0.5
    words = {"source_caption": 'a "cat", \u00e9t\u00e9', "target_caption": " two\nlines: - [x]"}
    made = [
        Item(
            id="a/b: 'c'", image=first.copy, truth=second.copy, mask=mask.copy, kind="pair, # odd", group="7", **words
        ),
        Item(id="true", image=second.copy, **words),
    ]
    again = load_dataset(write_manifest(made, tmp_path / "new" / "folder")).items
    for item, read in zip(made, again, strict=True):
        for name in ("id", "source_caption", "target_caption", "kind", "group"):
            assert getattr(read, name) == getattr(item, name)
        for name in ("image", "truth", "mask"):
            before, after = getattr(item, name), getattr(read, name)
            assert (before is None) == (after is None)
            assert before is None or np.array_equal(np.asarray(before()), np.asarray(after()))
    assert len(list((tmp_path / "new" / "folder" / "images").iterdir())) == 2
    with pytest.raises(OutputError):
        write_manifest(made, tmp_path / "new" / "folder" / FILE_NAME)


@pytest.mark.parametrize(
    "change", [{"mask": "wide.png"}, {"truth": "wide.png"}, {"mask": "black.png"}, {"captions": "a cat"}]
)
def test_masks_and_right_answers_fit_their_image(folder: Path, change: dict[str, str]) -> None:
    write_image(folder / "wide.png", (8, 4), "white")
    write_image(folder / "black.png", color=0, mode="L")
    path = folder / "edits.json"
    path.write_text(json.dumps([ROW | change]))
    with pytest.raises(ConfigError):
        load_items(path)


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
    """The repository's: images in Images beside the file, or at the path from the root."""
    write_image(tmp_path / "Data" / "Images" / "bear.png")
    write_image(tmp_path / "data" / "owl.png", (8, 8))
    return tmp_path / "Data"


def write_yaml(flowedit: Path, text: str) -> Path:
    path = flowedit / "flowedit.yaml"
    path.write_text(text)
    return path


def test_every_target_is_an_item_in_the_group_of_its_image(flowedit: Path) -> None:
    first, second, third = load_flowedit(write_yaml(flowedit, LAYOUT)).items
    assert [item.id for item in (first, second, third)] == ["bear/1.1", "bear/1.2", "owl/2.1"]
    assert first.source_caption == second.source_caption == "A brown bear in a stream."
    assert first.target_caption == "A black bear in a stream."
    assert second.target_caption == "A panda."
    assert first.group == second.group != third.group
    assert (first.image().size, third.image().size) == ((6, 4), (8, 8))


def test_one_image_in_two_entries_is_no_fault(flowedit: Path) -> None:
    items = load_flowedit(write_yaml(flowedit, LAYOUT + LAYOUT)).items
    assert len({item.id for item in items}) == 6
    assert len({item.group for item in items}) == 2


def test_every_fault_of_flowedits_file_is_in_one_error(flowedit: Path) -> None:
    sound = {"init_img": "bear.png", "source_prompt": "A bear.", "target_prompts": ["A panda."]}
    cases: list[tuple[Any, str]] = [
        (sound | {"init_img": "missing.png"}, "row 1: init_img: .*missing.png"),
        ({key: value for key, value in sound.items() if key != "init_img"}, "row 2: init_img: "),
        (sound | {"source_prompt": None}, "row 3: source_prompt: "),
        (sound | {"target_prompts": []}, "row 4: target_prompts: "),
        (sound | {"target_prompts": "A panda."}, "row 5: target_prompts: "),
        (sound | {"target_prompts": ["A panda.", 4]}, "row 6: target_prompts: row 2: "),
        (sound | {"init_img": 3}, "row 7: init_img: "),
        ("A bear.", "row 8: "),
    ]
    with pytest.raises(ConfigError, match=".*; ".join(words for _, words in cases)):
        load_flowedit(write_yaml(flowedit, yaml.safe_dump([row for row, _ in cases])))


@pytest.mark.parametrize(
    ("content", "is_one"),
    [(yaml.safe_load(LAYOUT), True), ([{"image": "a.png"}], False), ({"target_prompts": []}, False), (None, False)],
)
def test_the_layout_is_known_by_its_target_prompts(content: Any, is_one: bool) -> None:
    assert is_flowedit(content) == is_one


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
    write_image(tmp_path / "annotation_images" / "0_random_140" / "1.png", (SIDE, SIDE))
    write_image(tmp_path / "annotation_images" / "small.png", (8, 4))
    return tmp_path


def write_mapping(pie_bench: Path, entries: Any) -> Path:
    (pie_bench / "mapping_file.json").write_text(json.dumps(entries))
    return pie_bench


def test_an_entry_is_an_item(pie_bench: Path) -> None:
    dataset = load_pie_bench(
        write_mapping(pie_bench, {"000": ENTRY, "001": ENTRY | {"editing_type_id": 0, "mask": []}})
    )
    first, second = dataset.items
    assert first.id == "000"
    assert first.source_caption == "a slanted mountain bicycle"
    assert first.target_caption == "a rusty mountain bicycle"
    assert (first.kind, second.kind) == ("change attribute material", "random")
    assert len(set(KINDS)) == 10
    assert first.group == second.group
    assert first.about == {"editing_instruction": "make it rusty", "blended_word": "bicycle bicycle"}
    assert first.image().size == (SIDE, SIDE)
    assert first.mask is not None
    assert np.argwhere(first.mask()).tolist() == [[1, 1], [1, 2], [1, 3]]
    assert pickle.loads(pickle.dumps(dataset)).fingerprint == dataset.fingerprint


@given(runs=st.lists(st.tuples(st.integers(0, SIDE * SIDE + 9), st.integers(0, SIDE * SIDE + 9)), max_size=6))
def test_runs_are_read_row_by_row_and_cut_at_the_end(runs: list[tuple[int, int]]) -> None:
    """Against the rule for a single pixel: some run covers it."""
    mask = mask_of([number for run in runs for number in run])
    index = np.arange(SIDE * SIDE)
    expected = np.zeros(SIDE * SIDE, dtype=bool)
    for start, length in runs:
        expected |= (index >= start) & (index - start < length)
    assert mask.shape == (SIDE, SIDE)
    assert np.array_equal(mask.reshape(-1), expected)


FAULTS = [
    {"image_path": "missing.png"},
    {"image_path": "small.png"},
    {"image_path": None},
    {"original_prompt": 3},
    {"editing_prompt": " "},
    {"editing_type_id": "10"},
    {"editing_type_id": True},
    {"mask": "0 3"},
    {"mask": [1, 2, 3]},
    {"mask": [1, -2]},
    {"mask": [1, 2.5]},
]


def test_every_fault_of_a_mapping_is_in_one_error(pie_bench: Path) -> None:
    entries: dict[str, Any] = {f"k{index}": ENTRY | change for index, change in enumerate(FAULTS)}
    entries |= {"bare": {}, "text": "a cat", "sound": ENTRY}
    expected = [f"k{index}: {next(iter(change))}: " for index, change in enumerate(FAULTS)]
    needed = ("image_path", "original_prompt", "editing_prompt", "editing_type_id", "mask")
    expected += [*(f"bare: {name}: " for name in needed), "text: "]
    with pytest.raises(ConfigError) as caught:
        load_pie_bench(write_mapping(pie_bench, entries))
    assert [text for text in expected if text not in str(caught.value)] == []
    assert "sound" not in str(caught.value)
