"""``latentedit analyze`` on a tiny model: its files, what is printed, going on after a stop; wrong input refused."""

import json
from pathlib import Path

import pytest
from PIL import Image

from latentedit.core.plugins import EXPERIMENTS
from latentedit_bench.experiments import study
from latentedit_bench.experiments.spectrum import Spectrum
from tests.commands import Command, Refused

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def short_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Local bases of a network without training, which nobody looks at, take hundreds of products to converge."""
    monkeypatch.setattr(study, "_PRODUCTS", 4)
    monkeypatch.setattr(study, "_OF_TWINS", 4)


@pytest.fixture
def arguments(picture: Path, miniature: Path, tmp_path: Path) -> list[object]:
    second = tmp_path / "second.png"
    with Image.open(picture) as image:
        image.convert("RGB").rotate(180).save(second)
    where = ("--model", miniature, "--device", "cpu", "-o", tmp_path / "out")
    return ["samples", picture, second, "--rank", 2, "--site", "clean", "--levels", "0.6,0.3", *where]


@pytest.mark.nightly
def test_the_table_the_plot_and_the_verdict(command: Command, arguments: list[object], tmp_path: Path) -> None:
    outcome = command(*arguments)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert ", h: " in lines[0]
    assert lines[1].split()[0] == "undecided"
    assert "2 pictures" in lines[1]
    assert [line[2:14].strip() for line in lines[-3:]] == ["table", "plot", "claims"]
    out = tmp_path / "out"
    files = sorted(path.name for path in out.iterdir())
    assert files == ["claims.md", "samples-rows.csv", "samples.csv", "samples.json", "samples.png", "unfinished"]
    assert "tangent spaces of different samples diverge" in (out / "claims.md").read_text()


@pytest.mark.nightly
def test_json_holds_the_claims(command: Command, arguments: list[object]) -> None:
    told = json.loads(command(*arguments, "--json").out)
    assert told["analysis"] == "samples"
    assert {claim["verdict"] for claim in told["claims"]} == {"undecided at this size"}
    assert len(told["files"]) == 4


def test_the_list_names_every_analysis(command: Command) -> None:
    outcome = command("analyze", "list")
    assert [line.split()[0] for line in outcome.out.splitlines()] == [
        name.removeprefix("geometry-") for name in EXPERIMENTS.names() if name.startswith("geometry-")
    ]
    assert Spectrum.title in outcome.out


@pytest.fixture
def command(command: Command) -> Command:
    """The command line, which here begins with an analysis' name."""
    return lambda *arguments: command(*(arguments if arguments[0] == "analyze" else ("analyze", *arguments)))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({0: "sample"}, "did you mean 'samples'"),
        ({"--levels": "0.6;0.3"}, "is no list of numbers with commas"),
        ({"--rank": "0"}, "--rank is 0, and must be 1 or more"),
        ({1: None, 2: None}, "no installed domain has pictures for the model"),
    ],
)
def test_wrong_input_is_refused(
    refused: Refused, arguments: list[object], change: dict[str | int, str | None], expected: str
) -> None:
    changed = list(arguments)
    for where, value in change.items():
        changed[where if isinstance(where, int) else changed.index(where) + 1] = value
    assert expected in refused("analyze", *(one for one in changed if one is not None))
