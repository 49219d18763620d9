"""``latentedit path`` with a tiny model: the strip and its JSON."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.commands import Command, Ran


@pytest.fixture
def arguments(image: Path, other: Path, miniature: Path, tmp_path: Path) -> list[object]:
    where = ("--model", miniature, "--device", "cpu", "-o", tmp_path / "strip.png")
    return ["path", image, other, "--rank", 1, "--frames", 3, "--level", 0.3, "--site", "clean", *where]


@pytest.mark.nightly
@pytest.mark.usefixtures("short_searches")
def test_the_strip_has_one_row_per_method(
    command: Command, ran: Ran, arguments: list[object], image: Path, other: Path, tmp_path: Path
) -> None:
    printed = ran(*arguments, "--source-prompt", "a person")
    lines, strip = printed.splitlines(), tmp_path / "strip.png"
    assert lines[0] == f"{image}, {other} -> {strip}"
    assert {"lerp", "slerp", "geodesic", "random"} <= {line.split()[0] for line in lines[1:]}
    assert lines[2].endswith("a person")
    lengths = {row[0]: float(row[3].rstrip(",")) for row in map(str.split, lines) if row[1] == "feature"}
    profiles = [[float(one) for one in row[1:]] for row in map(str.split, lines) if row[0] == "profile"]
    assert [len(profile) for profile in profiles] == [2, 2, 2]
    assert [sum(profile) for profile in profiles] == pytest.approx(list(lengths.values()), rel=0.01)
    with Image.open(strip) as strip_image:
        assert strip_image.height > 3 * 160
        one_row = strip_image.size
    assert sorted(path.name for path in tmp_path.iterdir()) == ["me.png", "other.png", "strip.png"]
    report = json.loads(ran(*arguments, "--method", "lerp", "--json"))
    assert [path["method"] for path in report["paths"]] == ["lerp"]
    assert report["paths"][0]["semantic_length"] == pytest.approx(sum(report["paths"][0]["curvedness"]))
    assert (report["frames"], report["rank"], report["site"], report["captions"]) == (3, 1, "clean", ["", ""])
    with Image.open(strip) as strip_image:
        assert strip_image.height < one_row[1]
    assert command(*arguments, "--method", "lerp", "--quiet").out == ""
