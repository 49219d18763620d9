"""``latentedit edit``: a whole edit on a tiny model, and every kind of wrong input refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentedit.errors import ConfigError, OutputError
from tests.cli.conftest import Command
from tests.encoding.test_picture_files import BAD

FROM, TO = "a person with no glasses", "a person with glasses"


@pytest.fixture
def arguments(picture: Path, miniature: Path) -> list[object]:
    return ["edit", picture, "--from", FROM, "--to", TO, "--model", miniature, "--device", "cpu"]


def test_an_edit_writes_picture_and_sheet_and_says_what_it_did(
    command: Command, arguments: list[object], picture: Path, tmp_path: Path
) -> None:
    outcome = command(*arguments, "--sheet", tmp_path / "sheet.png")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0] == f"{picture} -> {tmp_path / 'me.edited.png'}"
    assert [line.split()[0] for line in lines[1:]] == [
        "caption",
        "target",
        "method",
        "verdict",
        "effect",
        "cost",
        "sheet",
    ]
    assert f"{FROM} (given)" in outcome.out
    assert "eim, strength 1.00" in outcome.out
    assert "evaluations" in outcome.out
    assert Image.open(tmp_path / "me.edited.png").size == (56, 40)
    assert Image.open(tmp_path / "sheet.png").width > 3 * 56
    assert sorted(path.name for path in tmp_path.iterdir()) == ["me.edited.png", "me.png", "sheet.png"]


@pytest.mark.parametrize("method", ["eim", "sdedit", "inversion", "aligned-inversion", "flowedit"])
def test_strength_0_gives_back_the_pixels(
    command: Command, arguments: list[object], picture: Path, tmp_path: Path, method: str
) -> None:
    outcome = command(*arguments, "--strength", 0, "--method", method, "-o", tmp_path / "out.png")
    assert outcome.code == 0, outcome.err
    assert np.array_equal(Image.open(tmp_path / "out.png"), Image.open(picture))
    assert "every other pixel as it was" in outcome.out


def test_one_seed_gives_one_file(command: Command, arguments: list[object], tmp_path: Path) -> None:
    for name, seed in (("a.png", 3), ("b.png", 3)):
        assert command(*arguments, "--seed", seed, "-o", tmp_path / name).code == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_json_is_one_object(command: Command, arguments: list[object], tmp_path: Path) -> None:
    outcome = command(*arguments, "--json", "--strength", 0, "--sheet", tmp_path / "sheet.png")
    facts = json.loads(outcome.out)
    assert facts["caption"] == FROM
    assert facts["caption_origin"] == "given"
    assert facts["target"] == TO
    assert facts["strength"] == 0
    assert facts["effect"]["changed_share"] == 0
    assert facts["effect"]["rest_psnr_db"] is None  # infinite, for which JSON has no word
    assert facts["cost"]["evaluations"] == 0
    assert facts["record"]["seed"] == 0
    assert facts["output"] == str(tmp_path / "me.edited.png")


def test_quiet_prints_nothing(command: Command, arguments: list[object]) -> None:
    outcome = command(*arguments, "--quiet")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


def test_words_that_were_dropped_are_named_in_a_warning(command: Command, arguments: list[object]) -> None:
    words = " ".join(["person"] * 30 + ["zebra"])
    outcome = command(*arguments, "--to", words)
    assert outcome.code == 0
    assert "warning: " in outcome.err
    assert "zebra" in outcome.err


def test_the_bundled_name_is_the_default(command: Command, picture: Path, bundled: Path) -> None:
    outcome = command("edit", picture, "--from", FROM, "--to", TO, "--json")
    assert json.loads(outcome.out)["record"]["model"]["name"] == "portraits"


@pytest.mark.parametrize("case", BAD)
def test_bad_pictures(refused: Callable[..., str], miniature: Path, tmp_path: Path, case: str) -> None:
    write, _ = BAD[case]
    bad = tmp_path / "bad.png"
    write(bad)
    assert "bad.png" in refused("edit", bad, "--from", FROM, "--to", TO, "--model", miniature)


@pytest.mark.parametrize("strength", ["nan", "inf", "-inf"])
def test_strengths_that_are_no_numbers(refused: Callable[..., str], arguments: list[object], strength: str) -> None:
    assert "finite" in refused(*arguments, f"--strength={strength}")


@pytest.mark.parametrize("option", ["--to", "--from"])
@pytest.mark.parametrize("text", ["", "  "])
def test_empty_captions(refused: Callable[..., str], arguments: list[object], option: str, text: str) -> None:
    assert option in refused(*arguments, option, text)


def test_a_model_that_cannot_read_needs_a_caption(refused: Callable[..., str], picture: Path, miniature: Path) -> None:
    assert "--from" in refused("edit", picture, "--to", TO, "--model", miniature)


def test_unknown_method_gets_the_nearest_names(refused: Callable[..., str], arguments: list[object]) -> None:
    assert "did you mean 'flowedit'" in refused(*arguments, "--method", "flow-edit")


def test_unknown_model_gets_the_nearest_names(
    refused: Callable[..., str], arguments: list[object], bundled: Path
) -> None:
    assert "did you mean 'portraits'" in refused(*arguments, "--model", "portrait")


def test_unknown_device(refused: Callable[..., str], arguments: list[object]) -> None:
    assert "gpu7" in refused(*arguments, "--device", "gpu7")


def test_a_model_with_pickles_is_refused(refused: Callable[..., str], arguments: list[object], bundled: Path) -> None:
    (bundled / "transformer" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04.")
    assert "diffusion_pytorch_model.bin" in refused(*arguments, "--model", bundled)


def test_output_folder_missing(refused: Callable[..., str], arguments: list[object], tmp_path: Path) -> None:
    for option in ("-o", "--sheet"):
        assert "does not" in refused(*arguments, option, tmp_path / "nowhere" / "out.png")


def test_output_folder_read_only(refused: Callable[..., str], arguments: list[object], read_only_folder: Path) -> None:
    for option in ("-o", "--sheet"):
        assert "write" in refused(*arguments, option, read_only_folder / "out.png")


def test_output_with_an_unknown_ending(refused: Callable[..., str], arguments: list[object], tmp_path: Path) -> None:
    assert ".png" in refused(*arguments, "-o", tmp_path / "out.psd")


def test_the_picture_is_never_overwritten(refused: Callable[..., str], arguments: list[object], picture: Path) -> None:
    assert "another name" in refused(*arguments, "-o", picture)
    assert "another name" in refused(*arguments, "--sheet", picture)


def test_sheet_and_picture_need_two_places(
    refused: Callable[..., str], arguments: list[object], tmp_path: Path
) -> None:
    assert "two places" in refused(*arguments, "-o", tmp_path / "x.png", "--sheet", tmp_path / "x.png")


def test_output_is_checked_before_the_model_is_loaded(
    command: Command, arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr("latentedit.editing.verbs.load", load)
    assert command(*arguments, "-o", tmp_path / "nowhere" / "out.png").code == 2
    assert command(*arguments, "--method", "nothing").code == 2
    with pytest.raises(AssertionError, match="loaded"):
        command(*arguments)


def test_debug_shows_the_traceback(command: Command, arguments: list[object]) -> None:
    with pytest.raises(ConfigError):
        command(*arguments, "--strength=nan", "--debug")


def test_no_picture_is_left_when_the_sheet_fails(
    refused: Callable[..., str], arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OutputError("expected space on the disk; there is none. Free some")

    monkeypatch.setattr("latentedit.editing.sheet.draw_sheet", fail)
    assert "space" in refused(*arguments, "--sheet", tmp_path / "sheet.png")
