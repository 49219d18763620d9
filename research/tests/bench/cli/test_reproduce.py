"""``latentedit reproduce`` with experiments that count: what is printed, the page, exit codes; wrong input refused."""

import json
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from latentedit.core import EXPERIMENTS, MODELS, Registry
from research.tests.bench.experiments.counting import CALLS, STOPS, broken, tally
from tests.commands import Command, Refused


@pytest.fixture(autouse=True)
def counting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two experiments in place of all."""
    points = {
        one.name: EntryPoint(name=one.name, value=f"{one.function.__module__}:{one.name}", group=EXPERIMENTS.group)
        for one in (tally, broken)
    }
    real = Registry.points
    monkeypatch.setattr(Registry, "points", lambda it: points if it.group == EXPERIMENTS.group else real(it))
    CALLS.clear()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_the_verdict_is_printed_and_stored(command: Command, out: Path, tmp_path: Path) -> None:
    outcome = command("reproduce", "tally", "tally", "-o", out)
    assert outcome.code == 0, outcome.err
    assert "in <items> 4.5 [" in outcome.out
    assert "### tally" in (out / "claims.md").read_text()
    place = tmp_path / "mine.md"
    assert command("reproduce", "tally", "-o", out, "--page", place, "--quiet").out == ""
    assert "](out/tally.webp)" in place.read_text()
    assert place.with_suffix(".html").is_file()
    report = json.loads(command("reproduce", "tally", "--quick", "--json", "-o", tmp_path / "quick").out)
    (record,) = report["experiments"]
    assert (record["name"], record["quick"], record["primary"][0]["verdict"]) == ("tally", True, "does not hold")
    assert report["files"] == [str(tmp_path / "quick" / name) for name in ("claims.md", "claims.html")]
    again = command("reproduce", "tally", "--quick", "-o", tmp_path / "quick").out
    assert ": would not hold (quick run, 6 images); size of |n|, in <items> -6.5" in again
    assert len(CALLS) == 8 + 6, "nothing is measured twice"


def test_ctrl_c_keeps_finished_experiments_and_a_failure_exits_with_1(command: Command, out: Path) -> None:
    STOPS.append(KeyboardInterrupt())
    stopped = command("reproduce", "--all", "-o", out)
    assert stopped.code == 130
    assert "Traceback" not in stopped.err
    first = (out / "tally.json").read_bytes()
    outcome = command("reproduce", "--all", "-o", out)
    assert outcome.code == 1
    assert "broken: failed: there are no items. Bring some" in outcome.out
    assert "failed" in (out / "claims.md").read_text()
    assert (out / "tally.json").read_bytes() == first


def test_a_missing_model_stops_before_anything_is_measured(
    refused: Refused, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the real experiments
    monkeypatch.setattr(type(MODELS), "missing", lambda _: ["portraits-unet"])
    assert "portraits-unet is not installed" in refused("reproduce", "linear-strength", "--quick", "-o", out)
    assert not out.exists()


def test_the_time_of_plans_without_an_estimate_is_unknown(command: Command, out: Path) -> None:
    assert command("reproduce").out.count("not timed") == 1
    assert "not timed" in command("reproduce", "broken", "-o", out).out
    assert "1.7 h, 1 not timed" in command("reproduce", "--all", "-o", out).out


def test_the_list_has_one_line_of_at_most_100_characters_for_each_claim(command: Command) -> None:
    lines = command("reproduce").out.splitlines()
    assert {line.split()[0] for line in lines if line.startswith("  ")} == {"broken", "tally"}
    assert max(map(len, lines)) <= 100
    listed = json.loads(command("reproduce", "--json").out)["claims"]
    assert {one["claim"] for one in listed} == {broken.claim, tally.claim}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["tally", "--page", "nowhere/claims.md"], "the output folder nowhere does not exist"),
        (["tally", "--device", "nowhere"], "this machine has no device"),
        (["tally", "--all"], "--all and tally"),
    ],
)
def test_wrong_input_is_refused(refused: Refused, out: Path, more: list[str], expected: str) -> None:
    assert expected in refused("reproduce", *more, "-o", out)
