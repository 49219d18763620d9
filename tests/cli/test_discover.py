"""``latentedit discover`` on a tiny model: the folder, what is printed, the way into an edit; wrong input refused."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from latentedit.api.outputs import read_record
from latentedit.directions.direction_file import load_direction
from tests.commands import Command, Refused

pytestmark = pytest.mark.slow


@pytest.fixture
def arguments(picture: Path, miniature: Path, tmp_path: Path) -> list[object]:
    where = ("--model", miniature, "--device", "cpu", "-o", tmp_path / "out")
    return ["discover", picture, "--rank", 2, "--site", "clean", "--level", 0.3, *where]


@pytest.fixture
def discovered(
    command: Command, arguments: list[object], kept_files: dict[tuple[object, ...], bytes], tmp_path: Path
) -> Path:
    """The folder, made once for all tests that read it."""
    kept = {asked[1]: data for asked, data in kept_files.items() if asked[0] == "discovered"}
    if not kept:
        assert command(*arguments, "--quiet").code == 0
        kept_files |= {("discovered", path.name): path.read_bytes() for path in (tmp_path / "out").iterdir()}
    (tmp_path / "out").mkdir(exist_ok=True)
    for name, data in kept.items():
        (tmp_path / "out" / str(name)).write_bytes(data)
    return tmp_path / "out"


@pytest.mark.nightly
def test_a_folder_and_a_row_a_direction(
    command: Command, arguments: list[object], picture: Path, tmp_path: Path
) -> None:
    outcome = command(*arguments)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    out = tmp_path / "out"
    assert lines[0] == f"{picture} -> {out}"
    assert [line[2:14].strip() for line in lines[1:]] == ["looked at", "1", "2", "random", "cost", "sheet", "try"]
    assert "clean, level 0.3" in lines[1]
    assert "whatever the picture shows may change" in lines[1]
    assert "products" in lines[5]
    files = sorted(path.name for path in out.iterdir())
    assert files[2:] == ["directions.png", "discovered.json"]
    assert all(name in line for name, line in zip(files, lines[2:4], strict=False))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["me.png", "out"]
    trial = shlex.split(lines[-1].split(maxsplit=1)[1])
    assert trial[:3] == ["latentedit", "sweep", str(picture)]
    assert trial[-4:] == ["--model", str(arguments[9]), "--device", "cpu"]
    outcome = command(*trial[1:], "-o", tmp_path / "s.png")  # nobody reads the picture, and nobody has to
    assert outcome.code == 0, outcome.err
    assert len(read_record(tmp_path / "s.png").strengths) == 5


@pytest.mark.nightly
def test_json_is_what_the_folder_says(command: Command, arguments: list[object], tmp_path: Path) -> None:
    prompted = (*arguments, "--prompt", "a person with glasses", "--from", "a person", "--seed", 5, "--json")
    outcome = command(*prompted)
    assert outcome.code == 0, outcome.err
    facts = json.loads(outcome.out)
    told = json.loads((tmp_path / "out" / "discovered.json").read_text())
    assert {name: facts[name] for name in told} == told
    record = told["record"]
    assert (record["caption"], record["prompt"]) == ("a person", "a person with glasses")
    assert (record["seed"], record["rank"], record["site"]) == (5, 2, "clean")
    assert facts["directions"][0]["singular_value"] >= facts["directions"][1]["singular_value"]
    assert facts["basis"]["products"] > 0
    direction = load_direction(tmp_path / "out" / facts["directions"][0]["file"])
    assert direction.source_captions == ("a person",)
    assert direction.settings["prompt"] == "a person with glasses"


@pytest.mark.nightly
def test_what_was_discovered_is_applied_and_made_again(
    command: Command, discovered: Path, picture: Path, miniature: Path, tmp_path: Path
) -> None:
    """Under another caption than the directions were found under, which was none: the picture moves all the same."""
    files = sorted(discovered.glob("*.safetensors"))
    where = ("--from", "a person with a beard", "--model", miniature, "--no-local", "-o", tmp_path / "e.png")
    outcome = command("edit", picture, "--direction", files[0], "--direction", files[1], *where)
    assert outcome.code == 0, outcome.err
    assert "not known in words" in outcome.out
    assert len(read_record(tmp_path / "e.png").directions) == 2
    assert not np.array_equal(Image.open(tmp_path / "e.png"), Image.open(picture))
    again = shlex.split(outcome.out.splitlines()[-1].split(maxsplit=1)[1])
    outcome = command(*again[1:])
    assert outcome.code == 0, outcome.err
    assert "yes, byte for byte" in outcome.out
    still = ("edit", picture, "--direction", files[0], "--strength", 0, *where)
    assert command(*still).code == 0
    assert np.array_equal(Image.open(tmp_path / "e.png"), Image.open(picture))


def test_a_direction_is_shown_by_its_name(command: Command, discovered: Path) -> None:
    file = min(discovered.glob("*.safetensors"))
    name = json.loads((discovered / "discovered.json").read_text())["directions"][0]["name"]
    outcome = command("direction", "show", file)
    assert f"  change      {name}\n" in outcome.out
    assert "pullback, from level 0.3" in outcome.out
    assert command("direction", "preview", file, "--quiet").code == 0


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--rank", 0], "--rank must be"),
        (["--level", 0], "--level must be"),
        (["--level", 1.5], "--level must be"),
        (["--level", "nan"], "--level must be"),
        (["--from", " "], "--from is an empty caption"),
        (["--prompt", ""], "--prompt is an empty caption"),
        (["-o", "missing/out"], "does not exist"),
        (["-o", "me.png"], "is a file, and a folder is written"),
        (["-o", "."], "it holds 'me.png'"),
    ],
)
def test_wrong_input_is_one_line_before_anything_is_loaded(
    refused: Refused,
    arguments: list[object],
    unloaded: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: list[object],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in refused(*arguments, *more)


def test_no_picture(refused: Refused, arguments: list[object], unloaded: None, tmp_path: Path) -> None:
    assert "no such file" in refused(arguments[0], tmp_path / "no.png", *arguments[2:])


@pytest.mark.nightly
def test_a_network_in_half_precision(command: Command, arguments: list[object], tmp_path: Path) -> None:
    """The directions come out orthonormal in single precision all the same."""
    outcome = command(*arguments, "--dtype", "bfloat16", "--json")
    assert outcome.code == 0, outcome.err
    facts = json.loads(outcome.out)
    assert facts["record"]["model"]["dtype"] == "bfloat16"
    loaded = [load_direction(tmp_path / "out" / row["file"]) for row in facts["directions"]]
    v = torch.stack([one.z.flatten() / one.settings["step"] for one in loaded]).double() * (
        1 - facts["record"]["level"]
    )
    assert torch.allclose(v @ v.T, torch.eye(2, dtype=torch.float64), atol=1e-5)


def test_an_interruption_leaves_nothing(
    command: Command, arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("latentedit.directions.local_basis.local_basis", interrupted)
    outcome = command(*arguments)
    assert (outcome.code, outcome.err.splitlines()[-1]) == (130, "latentedit: interrupted")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["me.png"]
