import json
from pathlib import Path

from latentedit_bench.analysis.claims import write_claims
from latentedit_bench.analysis.run import run
from tests.bench.analysis.counting import Counting, small_study


def test_every_finished_analysis_has_its_rows_with_command_and_seeds(tmp_path: Path) -> None:
    run(Counting(), [small_study(7)], tmp_path, command="latentedit analyze counting")
    (tmp_path / "another.json").write_text(json.dumps({"something": "else"}))
    text = write_claims(tmp_path).read_text()
    # 1 + the mean of 0 to 6
    row = next(line for line in text.splitlines() if line.startswith("| pictures can be counted"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:3] == ["gaussian-mixture", "count"]
    assert cells[3].startswith("4 [")
    assert cells[4:] == ["7", "holds", "counting"]
    assert "`latentedit analyze counting`" in text
    assert "7 pictures, site clean, rank 2, levels 0.9, 0.6, 4 steps, seed 0" in text
    assert "counted" in text


def test_what_could_not_be_measured_is_told(tmp_path: Path) -> None:
    run(Counting(), [small_study(2)], tmp_path, command="x")
    place = tmp_path / "counting.json"
    told = json.loads(place.read_text())
    told["claims"][0] |= {"estimate": None, "low": None, "high": None, "verdict": "undecided at this size"}
    place.write_text(json.dumps(told))
    assert "| not measured | 2 | undecided at this size |" in write_claims(tmp_path).read_text()


def test_a_measure_with_bars_stays_one_cell(tmp_path: Path) -> None:
    run(Counting(), [small_study(2)], tmp_path, command="x")
    place = tmp_path / "counting.json"
    told = json.loads(place.read_text())
    told["claims"][0]["measure"] = "size of |s - s'|"
    place.write_text(json.dumps(told))
    assert "| size of \\|s - s'\\| |" in write_claims(tmp_path).read_text()
