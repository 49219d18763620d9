"""``latentedit bench keep``: a few cases, a run that goes on, and pairs of real editors."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentedit_bench.known_pairs import cases
from latentedit_bench.known_pairs.cases import PHOTOGRAPHS, photograph, scaled
from tests.commands import Command, Refused

pytestmark = pytest.mark.slow

NODE = """
class FluxKontextDiffMerge:
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"first": ("IMAGE",), "second": ("IMAGE",), "share": ("FLOAT", {"default": 0.25})}}

    def merge_diff(self, first, second, share):
        print("merged")
        return first + share * (second - first), None
"""


def test_cases_are_measured_and_a_run_goes_on_where_it_was(
    tmp_path: Path, command: Command, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases, "_PHOTOGRAPH_SIDES", (96,))
    monkeypatch.setattr(cases, "_PORTRAITS_SHARE", 0.0)
    monkeypatch.setattr(cases, "_CYCLE", ("local", "unchanged"))
    arguments = ("bench", "keep", "-o", tmp_path)
    done = command(*arguments, "--count", "1")
    assert done.code == 0, done.err
    assert "verdict right: share of 1 cases" in done.out
    first = (tmp_path / "rows" / "0000.jsonl").stat().st_mtime_ns
    told = json.loads(command(*arguments, "--count", "2", "--json").out)
    assert (told["split"], told["seed"], told["cases"]) == ("test", 4, 2)
    assert (tmp_path / "rows" / "0000.jsonl").stat().st_mtime_ns == first
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 3
    assert json.loads((tmp_path / "keep.json").read_text()) == told
    assert "holds another run" in refused("bench", "keep", "--split", "calibration", "-o", tmp_path)


def test_pairs_of_real_editors_have_verdicts_and_results_beside_a_node(tmp_path: Path, command: Command) -> None:
    original = scaled(photograph(PHOTOGRAPHS["calibration"][0]), 96, np.random.default_rng(0))
    edited = original.copy()
    edited[20:50, 30:60] = (200, 40, 40)
    pairs, node = tmp_path / "pairs", tmp_path / "node.py"
    for number, pixels in ((3, edited), (12, original[::-1])):
        (pairs / f"{number:03d}").mkdir(parents=True)
        for name, shown in (("original", original), ("edited", pixels)):
            Image.fromarray(shown).save(pairs / f"{number:03d}" / f"{name}.webp", lossless=True)
    (pairs / "pairs.json").write_text('[{"n": 3, "kind": "local"}, {"n": 12, "kind": "global"}]')
    node.write_text(NODE)
    told = json.loads(
        command("bench", "keep", "--pairs", pairs, "--diff-merge", node, "-o", tmp_path / "out", "--json").out
    )
    assert (told["pairs"], told["of"], told["expected"]) == (2, {"local": 1, "global": 1}, {"local": 1, "global": 0})
    same = float((edited == original).all(axis=2).mean())
    assert told["stays"]["diff-merge"] == pytest.approx(same, abs=0.01)
    assert 0.5 < told["stays"]["threshold"] <= told["stays"]["keep"] + 0.1
    merged = np.asarray(Image.open(tmp_path / "out" / "diff-merge" / "003.png")).astype(int)
    assert np.abs(merged - (0.75 * original + 0.25 * edited)).max() <= 1
    assert {path.parent.name for path in (tmp_path / "out").glob("*/012.png")} == {*told["stays"]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--split", "train"), "--split is calibration or test"),
        (("--pairs", "nowhere"), "Name a folder with pairs.json"),
    ],
)
def test_what_makes_no_sense_is_refused(refused: Refused, arguments: tuple[str, ...], said: str) -> None:
    assert said in refused("bench", "keep", *arguments)
