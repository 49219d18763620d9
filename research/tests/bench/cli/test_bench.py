"""latentedit bench on a tiny model: data, tuning, interrupted and continued runs, and keep."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from latentedit.core import ConfigError
from latentedit_bench.cli.bench_run import parse_seeds
from latentedit_bench.data.counterfactual import SIZES, counterfactual
from latentedit_bench.known_pairs.cases import PHOTOGRAPHS, load_photograph, scaled
from latentedit_bench.ranking.search_spaces import search_spaces
from latentedit_bench.tuning.tuning import Tried
from research.tests.bench.cli.conftest import BEFORE, METHOD
from tests.batch.images import write_image
from tests.commands import Command, Refused
from tests.editors.edits import noisy


@pytest.mark.nightly
def test_the_rendered_set_is_described_without_a_model(command: Command, unloaded: None) -> None:
    report = json.loads(command("bench", "data", "--split", "calibration", "--items", 8, "--json").out)
    assert report["kinds"] == {"single": 4, "pair": 1, "graded": 2, "triple": 1}
    assert report["fingerprint"] == counterfactual("portraits", "calibration").head(8).fingerprint
    turns = json.loads(command("bench", "data", "--captions", "partial+full", "--json").out)
    assert turns["items"] == 480


def test_methods_are_listed_with_their_search(command: Command, unloaded: None) -> None:
    found = json.loads(command("bench", "methods", "--json").out)["methods"]
    assert [(one["name"], one["editor"], one["tries"], one["evaluations"]) for one in found] == [
        (one.name, one.editor, one.tries, one.budget) for one in search_spaces()
    ]
    lines = command("bench", "methods").out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [one["name"] for one in found]
    assert all(line.endswith(one["differs"]) for line, one in zip(lines, found, strict=True))


def test_a_manifest_is_described_and_copied(command: Command, manifest: Path, tmp_path: Path) -> None:
    outcome = command("bench", "data", manifest, "-o", tmp_path / "copy")
    assert outcome.code == 0, outcome.err
    copy = tmp_path / "copy" / "manifest.csv"
    first, second = (json.loads(command("bench", "data", place, "--json").out) for place in (manifest, copy))
    assert first["fingerprint"] == second["fingerprint"]
    assert first["items"] == 2


@pytest.mark.slow
def test_tuning_takes_96_items_of_the_calibration_split_unless_others_are_named(
    command: Command, where: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And prints one JSON value."""
    monkeypatch.setitem(SIZES, "calibration", 100)
    best = Tried(settings={"level": 0.5, "steps": 3}, items=96, score=0.5, gain=1.0, moved=0.0, evaluations=6.0)
    monkeypatch.setattr("latentedit_bench.data.prepared.prepare", lambda _, items: items)
    monkeypatch.setattr("latentedit_bench.tuning.tuning.tune_method", lambda *_, **__: [best])
    monkeypatch.setattr("latentedit_bench.tuning.tuning.tune_gain", lambda *_, **__: (1.12, 0.25))
    file = tmp_path / "tuning.json"
    words = ("bench", "tune", "--method", "sdedit", "--captions", "full", "-o", file, *where)
    report = json.loads(command(*words, "--evaluations", "20", "--json").out)
    assert report["best"] == {"sdedit": {"error": 0.25, "gain": 1.12, "settings": best.settings}}
    known = json.loads(file.read_text())["methods"]["sdedit"]
    assert known["data"]["fingerprint"] == counterfactual("portraits", "calibration").head(96).fingerprint
    assert known["budget"] == 20
    assert "error 0.2500, gain 1.12" in command(*words).out, "another budget is another search"
    assert command(*words).out == "", "what is known is not tried again"


@pytest.mark.nightly
def test_tuning_and_a_run_with_what_it_found(
    command: Command, manifest: Path, where: tuple[str, ...], tmp_path: Path
) -> None:
    settings, folder = tmp_path / "tuning.json", tmp_path / "run"
    tuned = command("bench", "tune", manifest, "--method", "sdedit", "--items", 1, "-o", settings, *where)
    assert tuned.code == 0, tuned.err
    known = json.loads(settings.read_text())["methods"]["sdedit"]
    assert (len(known["tried"]), known["data"]["items"]) == (16, 1)
    words = ("--method", "sdedit", "--settings", settings, "--strengths", "0.5,1", "--seeds", "1", "-o", folder)
    ran = command("bench", "run", manifest, *words, *where, "--images")
    assert ran.code == 0, ran.err
    assert len(list((folder / "images" / "sdedit").rglob("*.png"))) == 4
    assert len(pd.read_csv(folder / "rows.csv")) == 8
    assert (folder / "ranking.md").is_file()
    assert (folder / "images.png").is_file()
    assert json.loads((folder / "run.json").read_text())["plan"]["methods"][0]["settings"] == known["best"]


@pytest.mark.slow
def test_a_run_in_which_every_edit_failed_ends_in_one_line_and_failures_are_repeated_on_request(
    command: Command, manifest: Path, where: tuple[str, ...], method: tuple[str, ...], tmp_path: Path
) -> None:
    """The line gives the reason of the first failure; the folder has all of them."""

    def fail() -> None:
        raise ConfigError("this edit is refused. Try another")

    run = ("bench", "run", manifest, *method, *where, "-o", tmp_path / "run")
    BEFORE.extend([fail] * 3)  # failures of both items together, and of each alone
    outcome = command(*run)
    assert (outcome.code, outcome.out) == (2, "")
    first, hint = outcome.err.splitlines()
    assert first == f"error: every edit failed, of item-0 by {METHOD}: this edit is refused"
    assert hint == "hint: Try another"
    assert "item-1, hooked: this edit is refused" in command("bench", "status", tmp_path / "run").out
    status = json.loads(command("bench", "status", tmp_path / "run", "--json").out)
    assert [status[name] for name in ("state", "done", "units")] == ["finished", 2, 2]
    assert command(*run).code == 2, "what failed is finished without --retry"
    BEFORE.extend([fail] * 2)
    some = command(*run, "--retry")
    assert (some.code, "item-0, hooked: this edit is refused" in some.err) == (1, True), some.err
    assert "5 rows; ranking in" in some.out
    again = command(*run, "--retry", "--json")
    assert again.code == 0
    assert json.loads(again.out) | {"folder": "", "comparisons": []} == {
        "folder": "", "rows": 6, "comparisons": [], "left_out": [], "failures": []
    }  # fmt: skip


@pytest.mark.slow
def test_data_without_right_answers_is_not_ranked(
    command: Command, tmp_path: Path, where: tuple[str, ...], method: tuple[str, ...]
) -> None:
    write_image(tmp_path / "a.png", (64, 64))
    row = {"image": "a.png", "source_caption": "a person with no glasses", "target_caption": "a person with glasses"}
    (tmp_path / "edits.json").write_text(json.dumps([row]))
    outcome = command(
        "bench", "run", tmp_path / "edits.json", *method, "--strengths", "1,2", *where, "-o", tmp_path / "out"
    )
    assert outcome.code == 0, outcome.err
    assert len(pd.read_csv(tmp_path / "out" / "rows.csv")) == 2
    assert not (tmp_path / "out" / "ranking.md").exists()
    tuned = command("bench", "tune", tmp_path / "edits.json", "--method", "sdedit", *where, "-o", tmp_path / "t.json")
    assert (tuned.code, "right answer" in tuned.err) == (2, True)


@pytest.mark.slow_except("arguments2-'1;2'", "arguments4---split")
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("bench", "data", "--items", "0"), "got 0"),
        (("bench", "run", "--items", "1", "--batch", "0", "-o", "x"), "--batch"),
        (("bench", "run", "--items", "1", "--seeds", "1;2", "-o", "x"), "'1;2'"),
        (("bench", "keep", "--workers", 0), "--workers"),
        (("bench", "keep", "--split", "train", "-o", "x"), "--split"),
        (("bench", "keep", "--pairs", "nowhere", "-o", "x"), "pairs.json"),
        (("bench", "keep", "--against", "nowhere", "-o", "x"), "--baselines"),
        (("bench", "keep", "--baselines", "--against", "nowhere", "-o", "x"), "latentedit"),
        (("bench", "keep", "--baselines", "--workers", "2", "-o", "x"), "--workers"),
    ],
)
def test_wrong_input_is_refused_before_a_model_is_loaded(
    refused: Refused, unloaded: None, arguments: tuple[object, ...], text: str
) -> None:
    assert text in refused(*arguments)


Begin = Callable[..., tuple[str, ...]]


@pytest.fixture
def begin(manifest: Path, where: tuple[str, ...], tmp_path: Path, method: tuple[str, ...]) -> Begin:
    """The words of a run of two images in two batches by one method: four units."""
    plan = (*method, "--strengths", "0.5,1", "--batch", "1", "--workers", "1")

    def words(folder: str, *more: str) -> tuple[str, ...]:
        return ("bench", "run", str(manifest), *plan, *where, "-o", str(tmp_path / folder), *more)

    return words


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.nightly
def test_ctrl_c_keeps_finished_parts_and_the_same_command_continues(
    command: Command, begin: Begin, tmp_path: Path
) -> None:
    assert command(*begin("whole")).code == 0
    BEFORE.extend([lambda: None, interrupt])
    outcome = command(*begin("stopped"))
    folder = tmp_path / "stopped"
    assert (outcome.code, outcome.out) == (130, "")
    assert "3 of 4" in outcome.err
    assert "continue" in command("bench", "status", folder).out
    report = json.loads(command("bench", "status", folder, "--json").out)
    assert [report[name] for name in ("state", "done", "units", "rows", "failures")] == ["stopped", 3, 4, 6, []]
    finished = {place: place.stat().st_mtime_ns for place in (folder / "rows").iterdir()}
    continued = command(*begin("stopped"))
    assert continued.code == 0, continued.err
    assert {place: place.stat().st_mtime_ns for place in finished} == finished, "nothing finished is done again"
    assert (folder / "rows.csv").read_bytes() == (tmp_path / "whole" / "rows.csv").read_bytes()
    assert (folder / "summary.csv").read_bytes() == (tmp_path / "whole" / "summary.csv").read_bytes()


@pytest.mark.nightly
def test_the_number_of_workers_changes_nothing(command: Command, begin: Begin, tmp_path: Path, forked: None) -> None:
    """Each worker loads the model in a process of its own."""
    assert command(*begin("one")).code == 0
    two = command(*begin("two", "--workers", "2"))
    assert two.code == 0, two.err
    assert (tmp_path / "one" / "rows.csv").read_bytes() == (tmp_path / "two" / "rows.csv").read_bytes()


def test_seeds_are_whole_numbers() -> None:
    assert parse_seeds("3, 1") == (3, 1)


NODE = """
class FluxKontextDiffMerge:
    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"first": ("IMAGE",), "second": ("IMAGE",), "share": ("FLOAT", {"default": 0.25})}}

    def merge_diff(self, first, second, share):
        print("merged")
        return first + share * (second - first), None
"""


@pytest.mark.slow
def test_cases_of_keep_are_measured_and_a_run_continues(tmp_path: Path, command: Command, refused: Refused) -> None:
    arguments = ("bench", "keep", "-o", tmp_path)
    done = command(*arguments, "--count", "1")
    assert done.code == 0, done.err
    assert "found as expected: share of 1 cases" in done.out
    first = (tmp_path / "rows" / "0000.jsonl").stat().st_mtime_ns
    report = json.loads(command(*arguments, "--count", "2", "--json").out)
    assert (report["split"], report["seed"], report["cases"]) == ("test", 4, 2)
    assert (tmp_path / "rows" / "0000.jsonl").stat().st_mtime_ns == first
    assert len((tmp_path / "rows.csv").read_text().splitlines()) == 3
    assert json.loads((tmp_path / "keep.json").read_text()) == report
    assert "differs in: " in refused("bench", "keep", "--split", "calibration", "-o", tmp_path)
    assert "differs in: " in refused("bench", "keep", "--check", "--count", "2", "-o", tmp_path)


@pytest.mark.nightly
def test_rates_of_check_are_measured(tmp_path: Path, command: Command, refused: Refused) -> None:
    arguments = ("bench", "keep", "--check", "--split", "calibration", "-o", tmp_path)
    assert "0 of 1" in command(*arguments, "--count", "2").out
    assert json.loads((tmp_path / "check.json").read_text())["pairs"] == 2
    assert "--pairs" in refused(*arguments, "--pairs", tmp_path)


@pytest.mark.nightly
def test_what_keep_costs_is_measured(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentedit_bench.known_pairs.speed.SIZES", {"1 megapixel": (200, 150, 160)})
    done = command("bench", "keep", "--baselines", "--count", "1", "-o", tmp_path)
    assert done.code == 0, done.err
    report = json.loads((tmp_path / "speed.json").read_text())
    assert len(report["speed"]) == 4
    assert report["verdicts"] == {"local change": 1}
    assert all(one["method"] in done.out for one in report["speed"])


@pytest.mark.slow
def test_pairs_of_real_editors_are_compared_with_a_node(tmp_path: Path, command: Command) -> None:
    original = scaled(load_photograph(PHOTOGRAPHS["calibration"][0]), 96, np.random.default_rng(0))
    edited = original.copy()
    edited[20:50, 30:60] = (200, 40, 40)
    pairs, node = tmp_path / "pairs", tmp_path / "node.py"
    for number, pixels in ((3, edited), (12, original[::-1])):
        (pairs / f"{number:03d}").mkdir(parents=True)
        for name, shown in (("original", original), ("edited", pixels)):
            Image.fromarray(shown).save(pairs / f"{number:03d}" / f"{name}.webp", lossless=True)
    (pairs / "pairs.json").write_text('[{"n": 3, "kind": "local"}, {"n": 12, "kind": "global"}]')
    node.write_text(NODE)
    report = json.loads(
        command("bench", "keep", "--pairs", pairs, "--diff-merge", node, "-o", tmp_path / "out", "--json").out
    )
    assert (report["pairs"], report["of"]) == (2, {"local": 1, "global": 1})
    assert report["expected"] == {"local": 1, "global": 0}
    same = float((edited == original).all(axis=2).mean())
    assert report["stays"]["diff-merge"] == pytest.approx(same, abs=0.01)
    assert 0.5 < report["stays"]["threshold"] <= report["stays"]["keep"] + 0.1
    merged = np.asarray(Image.open(tmp_path / "out" / "diff-merge" / "003.png")).astype(int)
    assert np.abs(merged - (0.75 * original + 0.25 * edited)).max() <= 1
    assert {path.parent.name for path in (tmp_path / "out").glob("*/012.png")} == {*report["stays"]}


@pytest.fixture
def attributes(tmp_path: Path) -> Path:
    """Two attributes in the miniature's words, and one image of noise."""
    noisy(3, (64, 64)).save(tmp_path / "me.png")
    place = tmp_path / "attributes.yaml"
    place.write_text(
        'caption: "a person with {eyes}, {beard}"\n'
        "values: {eyes: [glasses, no glasses], beard: [a beard, no beard]}\n"
        "images: [{image: me.png, values: {eyes: glasses, beard: no beard}}]\n"
    )
    return place


@pytest.mark.slow
def test_disentanglement_is_scored_without_right_answers(
    command: Command, where: tuple[str, ...], attributes: Path, tmp_path: Path
) -> None:
    words = ("bench", "disentanglement", "--attributes", attributes, *where, "--method", METHOD, "--set", "steps=2")
    outcome = command(*words, "-o", tmp_path / "scores.json")
    assert outcome.code == 0, outcome.err
    assert all(word in outcome.out for word in (METHOD, "effectiveness", "decomposability", "eyes", "beard"))
    stored = json.loads((tmp_path / "scores.json").read_text())
    (scored,) = stored["methods"]
    assert scored["transfer"].keys() == scored["attributes"].keys() == {"eyes", "beard"}
    assert stored["images"] == 1
    report = json.loads(command(*words, "--json", "--seed", 0).out)
    assert report["methods"] == stored["methods"]
    assert json.loads(command(*words, "--json", "--seed", 1).out)["methods"] != stored["methods"]


@pytest.mark.parametrize(
    ("words", "text"),
    [(("--method", "nobody"), "nobody"), (("--set", "nothing=1"), "nothing"), (("--items", "0"), "--items")],
)
def test_what_cannot_be_scored_is_refused(
    refused: Refused, attributes: Path, words: tuple[str, ...], text: str
) -> None:
    assert text in refused("bench", "disentanglement", "--attributes", attributes, *words)
