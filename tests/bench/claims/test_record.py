"""What is stored of an experiment is what is read, numbers that are not known too; damaged files are refused."""

import dataclasses
import json
import math
from pathlib import Path

import pytest

from latentedit.core.errors import FileFormatError
from latentedit_bench.analysis.base import Claim
from latentedit_bench.claims.record import PLANS, Record, planned, read_plans, read_records
from latentedit_bench.metrics.statistics import Estimate
from tests.bench.claims.tallying import Tally


@pytest.fixture
def record() -> Record:
    known = Claim.of("all is well", "model", "how well", Estimate(mean=0.5, low=0.25, high=0.75, pictures=8))
    unknown = Claim.of("all is well", "model", "how", Estimate(mean=math.nan, low=math.nan, high=math.nan, pictures=0))
    return Record(
        name="tally",
        about=planned(Tally(), quick=False),
        claims=(known, unknown),
        notes=("a note",),
        command="typed",
        seconds=1.5,
        resumed=True,
        peak_bytes=10,
    )


def test_what_was_written_is_read(tmp_path: Path, record: Record) -> None:
    record.write(tmp_path)
    found = Record.read(tmp_path / "tally.json")
    assert found.claims[0] == record.claims[0]
    assert math.isnan(found.claims[1].low)
    rest = [
        {key.name: getattr(one, key.name) for key in dataclasses.fields(Record) if key.name != "claims"}
        for one in (found, record)
    ]
    assert rest[0] == rest[1]


def test_only_what_was_planned_is_a_record(tmp_path: Path, record: Record) -> None:
    record.write(tmp_path)
    assert read_plans(tmp_path) == {}
    assert read_records(tmp_path) == {}
    (tmp_path / PLANS).write_text(json.dumps({"other": record.about, "tally": record.about}))
    assert list(read_records(tmp_path)) == ["tally"]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"claims": [{"model": "m"}], "notes": []}'])
def test_a_damaged_file_is_refused(tmp_path: Path, record: Record, text: str) -> None:
    record.write(tmp_path)
    (tmp_path / "tally.json").write_text(text)
    with pytest.raises(FileFormatError, match=r"expected .*tally\.json as `latentedit reproduce` wrote it"):
        Record.read(tmp_path / "tally.json")


def test_the_plan_is_what_was_claimed_and_how_it_is_decided() -> None:
    about = planned(Tally(), quick=True)
    assert about == {
        "paper": Tally.paper,
        "statement": Tally.statement,
        "statistic": Tally.statistic,
        "rule": Tally.rule,
        "quick": True,
        "plan": {"items": 8, "start": 1.0, "how": {"by": ["hand", "eye"], "twice": False}},
    }
