import json
from pathlib import Path

import pandas as pd
import pytest

from latentedit.core.errors import ConfigError, OutputError
from latentedit_bench.analysis.base import Conclusion
from latentedit_bench.analysis.run import WORK, run
from tests.bench.analysis.counting import Counting, small_study


def test_a_finished_analysis_is_a_table_a_plot_and_what_they_say(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    finished = run(Counting(), [small_study(3)], tmp_path, command="count", progress=lambda *one: told.append(one))
    assert told == [("counting", index, 3) for index in (1, 2, 3)]
    assert [file.name for file in finished.files] == [
        "counting.csv",
        "counting-rows.csv",
        "counting.png",
        "counting.json",
    ]
    assert pd.read_csv(finished.files[1])["value"].tolist() == [1, 2, 3]
    stored = json.loads(finished.files[3].read_text())
    assert stored["command"] == "count"
    assert stored["verdict"] == "counted"
    assert stored["claims"][0]["estimate"] == 2
    assert stored["studies"][0]["seed"] == 0
    assert len(stored["studies"][0]["pictures"]) == 3
    assert stored["settings"] == {"start": 1}


def test_an_interrupted_analysis_goes_on_where_it_stopped(tmp_path: Path) -> None:
    study, stopped = small_study(4), Counting(most=2)
    with pytest.raises(KeyboardInterrupt):
        run(stopped, [study], tmp_path, command="count")
    assert [file.name for file in tmp_path.iterdir()] == [WORK], "no result before the end"
    resumed = Counting()
    finished = run(resumed, [study], tmp_path, command="count")
    assert resumed.calls == [(2, 0.5), (3, 0.5)]
    assert finished.measured == 2
    whole = run(Counting(), [study], tmp_path / "other", command="count")
    assert finished.table.equals(whole.table)
    assert finished.files[2].read_bytes() == whole.files[2].read_bytes()


def test_a_line_that_was_cut_off_is_measured_again(tmp_path: Path) -> None:
    study = small_study(3)
    run(Counting(), [study], tmp_path, command="count")
    journal = next((tmp_path / WORK).glob("*.jsonl"))
    journal.write_text(journal.read_text()[:-5])
    again = Counting()
    finished = run(again, [study], tmp_path, command="count")
    assert again.calls == [(2, 0.5)]
    assert finished.table["value"].tolist() == [1, 2, 3]
    assert [json.loads(line)[0] for line in journal.read_text().splitlines()] == [[0, 0.5], [1, 0.5], [2, 0.5]]


def test_other_settings_are_measured_anew(tmp_path: Path) -> None:
    run(Counting(), [small_study(3)], tmp_path, command="count")
    for analysis, study in ((Counting(start=5), small_study(3)), (Counting(), small_study(3, rank=1))):
        assert run(analysis, [study], tmp_path, command="count").measured == 3


def test_one_picture_where_several_are_needed_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected at least 2 pictures for counting, which compares them; got 1"):
        run(Counting(), [small_study(1)], tmp_path / "out", command="count")
    assert not (tmp_path / "out").exists()


def test_one_model_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected each model once; got gaussian-mixture, gaussian-mixture"):
        run(Counting(), [small_study(2), small_study(3)], tmp_path / "out", command="count")


def test_a_place_that_cannot_be_written_to_is_refused_before_the_work(read_only_folder: Path) -> None:
    analysis = Counting()
    with pytest.raises(OutputError, match="cannot be made"):
        run(analysis, [small_study(2)], read_only_folder / "out", command="count")
    assert analysis.calls == []


def test_a_conclusion_that_fails_keeps_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Conclusion:
        raise RuntimeError("a mistake")

    with monkeypatch.context() as patched:
        patched.setattr(Counting, "conclude", fail)
        with pytest.raises(RuntimeError, match="a mistake"):
            run(Counting(), [small_study(2)], tmp_path, command="count")
    assert run(Counting(), [small_study(2)], tmp_path, command="count").measured == 0
