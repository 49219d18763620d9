"""``latentedit path`` on a tiny model: the strip and its JSON."""

import functools
import json
from pathlib import Path

import pytest
from PIL import Image

from latentedit.core.linalg.block_lanczos import truncated_svd
from tests.commands import Command, Refused


@pytest.fixture(autouse=True)
def short_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Local bases of a network without training, which nobody looks at, take hundreds of products to converge."""
    short = functools.partial(truncated_svd, most_products=4)
    monkeypatch.setattr("latentedit.geometry.paths.truncated_svd", short)


@pytest.fixture
def arguments(picture: Path, other: Path, miniature: Path, tmp_path: Path) -> list[object]:
    where = ("--model", miniature, "--device", "cpu", "-o", tmp_path / "strip.png")
    return ["path", picture, other, "--rank", 1, "--frames", 3, "--level", 0.3, "--site", "clean", *where]


@pytest.mark.nightly
def test_a_strip_and_a_row_a_method(
    command: Command, arguments: list[object], picture: Path, other: Path, tmp_path: Path
) -> None:
    outcome = command(*arguments, "--from", "a person")
    assert outcome.code == 0, outcome.err
    lines, strip = outcome.out.splitlines(), tmp_path / "strip.png"
    assert lines[0] == f"{picture}, {other} -> {strip}"
    labels = ["drawn at", "from", "to", "lerp", "slerp", "geodesic", "random", "cost"]
    assert [line[2:14].strip() for line in lines[1:]] == labels
    assert "level 0.30; lengths at clean, rank 1, under no text" in lines[1]
    assert (lines[2].split(maxsplit=1)[1], lines[3].split(maxsplit=1)[1]) == ("a person", "no text")
    assert all("feature length" in line and "semantic length" in line for line in lines[4:7])
    with Image.open(strip) as image:
        assert image.height > 3 * 160
        one_row = image.size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["me.png", "other.png", "strip.png"]
    outcome = command(*arguments, "--method", "lerp", "--json")
    assert outcome.code == 0, outcome.err
    told = json.loads(outcome.out)
    assert [path["method"] for path in told["paths"]] == ["lerp"]
    assert told["paths"][0]["semantic_length"] == pytest.approx(sum(told["paths"][0]["curvedness"]))
    assert (told["frames"], told["rank"], told["site"], told["captions"]) == (3, 1, "clean", ["", ""])
    with Image.open(strip) as image:
        assert image.height < one_row[1]
    assert command(*arguments, "--method", "lerp", "--quiet").out == ""


@pytest.mark.usefixtures("unloaded")
@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--method", "slrep"], "did you mean 'slerp'"),
        (["--frames", 2], "frames must be at least 3; got 2"),
        (["--frames", 51], "frames must be at most 50; got 51"),
        (["--rank", 0], "--rank must be"),
        (["--level", 0], "--level must be"),
        (["--from", " "], "--from is an empty caption"),
        (["--to", ""], "--to is an empty caption"),
        (["-o", "missing/strip.png"], "does not exist"),
        (["-o", "strip.txt"], "strip.txt"),
        (["-o", "other.png"], "is the picture itself"),
    ],
)
def test_wrong_input_is_refused_before_the_model_is_loaded(
    refused: Refused,
    arguments: list[object],
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: list[object],
    words: str,
) -> None:
    monkeypatch.chdir(picture.parent)
    assert words in refused(*arguments, *more)
    Path("copy.png").write_bytes(picture.read_bytes())
    for second, why in (("copy.png", "the same one twice"), ("no.png", "no such file")):
        assert why in refused(arguments[0], picture, second, *arguments[3:])
