import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.api.manifests.pictures import write_picture

from latentedit.core.errors import ConfigError, FileFormatError
from latentedit_bench.data.pie_bench_folder import KINDS, SIDE, RunLengths, load_pie_bench

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
def folder(tmp_path: Path) -> Path:
    write_picture(tmp_path / "annotation_images" / "0_random_140" / "1.png", (SIDE, SIDE))
    write_picture(tmp_path / "annotation_images" / "small.png", (8, 4))
    return tmp_path


def write(folder: Path, entries: Any) -> Path:
    (folder / "mapping_file.json").write_text(json.dumps(entries))
    return folder


def test_an_entry_is_an_item(folder: Path) -> None:
    dataset = load_pie_bench(write(folder, {"000": ENTRY, "001": ENTRY | {"editing_type_id": 0, "mask": []}}))
    first, second = dataset.items
    assert first.id == "000"
    assert first.source_caption == "a slanted mountain bicycle"
    assert first.target_caption == "a rusty mountain bicycle"
    assert (first.kind, second.kind) == ("change attribute material", "random")
    assert len(set(KINDS)) == 10
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


def test_every_fault_is_told_at_once(folder: Path) -> None:
    entries: dict[str, Any] = {f"k{index}": ENTRY | change for index, (change, _) in enumerate(FAULTS)}
    entries |= {"bare": {}, "text": "a cat"}
    told = [f"entry 'k{index}': {text}" for index, (_, text) in enumerate(FAULTS)]
    needed = ("image_path", "original_prompt", "editing_prompt", "editing_type_id", "mask")
    told += [f"entry 'bare': {name} is missing" for name in needed] + ["entry 'text': it is text, not an object"]
    with pytest.raises(ConfigError) as caught:
        load_pie_bench(write(folder, entries))
    assert [text for text in told if text not in str(caught.value)] == []
    assert f"has faults ({len(told)}): " in str(caught.value)


@pytest.mark.parametrize(("entries", "said"), [([], "it is a list"), ({}, "no entries")])
def test_a_mapping_without_entries_is_told(folder: Path, entries: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_pie_bench(write(folder, entries))


def test_a_malformed_mapping_is_one_error(folder: Path) -> None:
    (folder / "mapping_file.json").write_text('{"000": {}')
    with pytest.raises(FileFormatError, match="syntax error"):
        load_pie_bench(folder)
