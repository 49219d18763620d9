"""The trial of real weights on miniatures: every part of the page, a broken model, and what goes wrong on the way."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import latentedit as le
from latentedit.testing import saved, sd3_pipeline
from research.real_weights import __main__ as program
from research.real_weights import parts, photographs, summary
from research.real_weights.__main__ import main, plan
from research.real_weights.photographs import PHOTOGRAPHS, Photograph
from research.real_weights.stock import compared
from tests.miniatures import MINIATURES

SIZES = {"sizes": [32, 32, 48]}
FAMILIES = ("sd3", "flux", "sdxl", "qwen_image", "sana", "pixart")
SOURCE, TARGET = "a person with red hair", "a person with black hair"
SHORT = (
    Photograph(name="astronaut", source_prompt=SOURCE, prompt=TARGET, rights="public domain"),
    Photograph(name="hubble_deep_field", source_prompt="a wall", prompt="a face", rights="none", unusual=True),
)
"""Captions of words that miniatures have."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small photographs, few strengths and steps; the variable that the run sets is put back."""
    whole = Photograph.image

    def thumbnail(one: Photograph) -> Image.Image:
        return whole(one).resize((40, 32))

    monkeypatch.setattr(Photograph, "image", thumbnail)
    monkeypatch.setattr(photographs, "PHOTOGRAPHS", SHORT)
    monkeypatch.setattr(parts, "STRENGTHS", (0.0, 0.5, 1.0))
    monkeypatch.setattr(parts, "CALIBRATION_STEPS", 4)
    monkeypatch.setenv("LATENTEDIT_DATA", "")


def model_folder(name: str, folder: Path) -> Path:
    model = saved(MINIATURES[name](), folder / "model")
    (model / "latentedit.json").write_text(json.dumps(SIZES))
    return model


def tried(model: Path, output: Path, *more: str) -> int:
    return main([str(model), "-o", str(output), "--device", "cpu", "--steps", "4", "--calibration-images", "8", *more])


def report_of(output: Path) -> dict[str, Any]:
    return json.loads((output / "report.json").read_text("utf-8"))


def texts_of(report: dict[str, Any], kind: str) -> list[str]:
    return [one["text"] for one in report["findings"] if one["kind"] == kind]


def check_whole(output: Path) -> None:
    """Every part has its numbers in the report and its place on the page, and all images exist."""
    report, page = report_of(output), (output / "index.html").read_text("utf-8")
    assert {name: part["status"] for name, part in report["parts"].items()} == dict.fromkeys(plan(), "finished")
    results = {name: part["result"] for name, part in report["parts"].items()}
    parity = results["parity"]
    assert 0 <= parity["relative"] <= summary.BOUNDS["float32"]
    assert parity["image_levels"] <= 1
    assert parity["other caption"]["relative"] > 10 * parity["relative"]
    assert any(text.startswith("latentedit samples as the pipeline does") for text in texts_of(report, "works"))
    methods = [row["method"] for row in results["edit"]["edits"]]
    assert "flowedit" in methods
    assert len(set(methods)) == len(methods) > 1
    assert all(row["undone"] for row in results["edit"]["edits"])
    levels = [row["mean_levels"] for row in results["sweep"]["edits"]]
    assert levels[0] == 0
    assert len(levels) == len(parts.STRENGTHS)
    for one in SHORT:
        row = results[f"photograph-{one.name}"]
        assert row["state"] in ("known", "doubtful", "unknown")
        assert row["evaluations"] > 0 < row["seconds"]
        assert one.prompt in page
        assert row["verdict"].partition(":")[0] in page
    assert set(results["memory"]["peaks"]) == {"encoding", "editing", "judging"}
    assert min(results["memory"]["peaks"].values()) > 0
    assert report["criteria"] == summary.__doc__
    assert all(any(character.isdigit() for character in one["text"]) for one in report["findings"]), (
        "a claim, no number"
    )
    shown = set(_images(page))
    assert shown
    assert all((output / file).is_file() for file in shown)
    assert "http" not in page.partition("<h2>Criteria")[0], "the page needs nothing from elsewhere"


def _images(page: str) -> Iterator[str]:
    for part in page.split("src='")[1:]:
        yield part.partition("'")[0]


@pytest.mark.slow
def test_a_small_family_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second run repeats nothing, and another seed is refused."""
    model, output = model_folder("pixart", tmp_path), tmp_path / "page"
    assert tried(model, output) == 0
    check_whole(output)
    assert "million parameters, too few" in " ".join(texts_of(report_of(output), "not checked"))
    files = {file: file.stat().st_mtime_ns for file in (output / "parts").iterdir()}
    capsys.readouterr()
    assert tried(model, output) == 0
    assert capsys.readouterr().out.count("finished before") == len(plan())
    assert files == {file: file.stat().st_mtime_ns for file in (output / "parts").iterdir()}
    assert tried(model, output, "--seed", "1") == 2
    assert "seed 0, now 1. Give another folder" in capsys.readouterr().err


@pytest.mark.nightly
@pytest.mark.parametrize("family", FAMILIES)
def test_six_families_end_to_end(family: str, tmp_path: Path) -> None:
    assert tried(model_folder(family, tmp_path), tmp_path / "page") == 0
    check_whole(tmp_path / "page")


def parity_of(pipeline: Any, model: Any) -> dict[str, Any]:
    found, _ = compared(pipeline, model, SOURCE, TARGET, steps=4, seed=0, note=lambda _: None)
    return found | {"image_levels": 0.0}


@pytest.mark.slow
def test_a_wrong_shift_fails_parity() -> None:
    """The negative control: a model that reads other levels than the pipeline's is found, and the right one passes."""
    right, wrong = (sd3_pipeline(t5=False) for _ in range(2))
    wrong.scheduler.register_to_config(shift=1.0)
    wrong.scheduler.set_shift(1.0)
    kinds = list[str]()
    for read in (right, wrong):
        model = le.from_pipeline(read, settings={**SIZES, "zero_tokens": 256})
        kinds.append(next(iter(summary._parity(parity_of(right, model), {"dtype": "float32"}))).kind)
    assert kinds == ["works", "does not work"]


def test_parity_is_not_decided_where_the_pipeline_differs_from_itself() -> None:
    found: dict[str, Any] = {name: {"relative": 0.2} for name in summary.CONTROLS}
    found |= {"relative": 0.3, "other caption": {"relative": 9.0}, "image_levels": 0.0}
    assert [one.kind for one in summary._parity(found, {"dtype": "bfloat16"})] == ["not checked"]
    quiet = found | {name: {"relative": 1e-3} for name in summary.CONTROLS} | {"relative": 2e-3}
    insensitive = quiet | {"other caption": {"relative": 3e-3}}
    assert [one.kind for one in summary._parity(insensitive, {"dtype": "bfloat16"})] == ["not checked"]
    assert [one.kind for one in summary._parity(quiet, {"dtype": "bfloat16"})] == ["works", "works"]
    assert [one.kind for one in summary._parity(quiet, {"dtype": "float32"})] == ["works", "works"], "3 x the control"


def fails(error: BaseException) -> Callable[[parts.Trial], parts.Part]:
    def measure(_: parts.Trial) -> parts.Part:
        raise error

    return measure


@pytest.mark.slow
def test_a_part_that_fails_loses_no_other_and_ctrl_c_keeps_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, output = model_folder("pixart", tmp_path), tmp_path / "page"
    monkeypatch.setattr(photographs, "PHOTOGRAPHS", SHORT[:1])
    with monkeypatch.context() as change:
        change.setattr(parts, "calibration", fails(RuntimeError("<broken>")))
        change.setattr(parts, "edit", fails(KeyboardInterrupt()))
        assert tried(model, output) == 130
    assert "Run the same command again" in capsys.readouterr().out
    page = (output / "index.html").read_text("utf-8")
    assert "RuntimeError: &lt;broken&gt;" in page
    assert "This part was not reached" in page
    with monkeypatch.context() as change:
        change.setattr(parts, "calibration", fails(RuntimeError("broken")))
        assert tried(model, output) == 1
    report = report_of(output)
    states = {name: part["status"] for name, part in report["parts"].items()}
    assert states == {**dict.fromkeys(plan(), "finished"), "calibration": "failed"}
    assert "RuntimeError: broken" in " ".join(texts_of(report, "not checked"))
    assert any("it has no guard" in text for text in texts_of(report, "not checked"))
    monkeypatch.setattr(photographs, "PHOTOGRAPHS", SHORT[:2])
    assert tried(model, output, "--minutes", "0") == 1
    assert "no time was left" in " ".join(texts_of(report_of(output), "not checked"))


def test_no_model_is_an_error_with_its_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for model in (str(tmp_path), "nowhere"):
        assert main([model, "-o", str(tmp_path / "page")]) == 2
        assert "has no model_index.json. Give a folder that diffusers saved, or a hub id" in capsys.readouterr().err


def test_too_little_memory_is_an_error_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "_free_bytes", lambda: 1000.0)
    assert tried(model_folder("flux", tmp_path), tmp_path / "page") == 2
    assert "0.0 are free. Use a machine with more memory, or a smaller model" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("family", ["flux", "sd3"])
def test_rounded_times_explain_parity_in_half_precision(family: str) -> None:
    """FLUX's pipeline rounds times and latentedit does not; that of Stable Diffusion 3 does not either."""
    pipeline = MINIATURES[family]().to(torch.bfloat16)
    found = parity_of(pipeline, le.from_pipeline(pipeline, settings=SIZES))
    rounded = found["rounded times"]["relative"]
    assert (rounded < found["relative"] / 5) == (family == "flux")
    assert min(rounded, found["relative"]) <= summary.bound(found, "bfloat16")[0]
    assert next(iter(summary._parity(found, {"dtype": "bfloat16"}))).kind == "works"


def test_the_wheel_of_scikit_image_carries_the_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    """None needs `pooch`, which downloads; each edit changes the caption, and eight of ten are everyday photographs."""
    monkeypatch.undo()
    assert len(PHOTOGRAPHS) == 10
    assert sum(one.unusual for one in PHOTOGRAPHS) == 2
    for one in PHOTOGRAPHS:
        assert one.source_prompt != one.prompt
        assert all(dataclasses.asdict(one)[name] for name in ("name", "rights"))
        image = one.image()
        assert image.mode == "RGB"
        assert min(image.size) >= 256
