"""Run folders: the same table after any interruption, claims, and folders of other runs, which are rejected."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import filelock
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentedit._version import __version__
from latentedit.batch.folder import CLAIMS, MANIFEST, ROWS, TABLE, Failure, RunFolder, UnitRecord, UnitResult, file_name
from latentedit.core.errors import ConfigError, FileFormatError, LatentEditError, OutputError
from tests.batch.small_work import SmallWork, begin, made

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def fill(folder: RunFolder, work: SmallWork, *, backwards: bool = False) -> None:
    for unit in reversed(work.units) if backwards else work.units:
        folder.add(unit, work.measure(work.task(unit)))


def everything(path: Path) -> dict[Path, bytes]:
    return {place: place.read_bytes() if place.is_file() else b"" for place in path.rglob("*")}


def test_rows_are_in_the_order_of_the_plan_in_any_order_of_completion(
    folder: RunFolder, work: SmallWork, undisturbed: dict[str, bytes]
) -> None:
    """A temporary file of a killed process does no harm."""
    (folder.path / ROWS / ".0123456789abcdef.tmp").write_bytes(b"{")
    assert folder.finished() == []
    fill(folder, work, backwards=True)
    table = folder.write_table()
    rows = [row for unit in work.units for row in work.measure(work.task(unit)).rows]
    assert table == rows
    assert made(folder) == undisturbed
    assert folder.failures() == [Failure(item="005-unit", what="odd", why="it is five")]
    written = pd.read_csv(folder.path / TABLE, float_precision="round_trip")
    assert written["third"].tolist() == [row["third"] for row in rows]
    assert written["none"].isna().all()
    assert list(written.columns) == ["unit", "place", "third", "none", "source", "seldom", "later"]


def test_a_run_without_rows_has_an_empty_table_and_nan_is_an_empty_cell(folder: RunFolder) -> None:
    assert folder.rows() == []
    folder.add("000-unit", UnitResult(rows=()))
    assert folder.finished() == ["000-unit"]
    assert folder.write_table() == []
    assert folder.records()["000-unit"] == UnitRecord(rows=0, failures=[])
    folder.add("001-unit", UnitResult(rows=[{"x": 1, "y": float("nan")}, {"x": 2.5, "y": 3}], about={"own": 7}))
    assert folder.records()["001-unit"].model_dump()["own"] == 7
    assert folder.write_table() == [{"x": 1, "y": None}, {"x": 2.5, "y": 3}]
    assert (folder.path / TABLE).read_bytes() == b"x,y\n1,\n2.5,3\n"


DAMAGED_UNITS = (None, b"", b'{"rows": 0, "failures": [{"item": 1}]}')


def test_a_damaged_unit_is_reported_by_name(folder: RunFolder, work: SmallWork, undisturbed: dict[str, bytes]) -> None:
    fill(folder, work)
    place = folder.path / ROWS / "003-unit.jsonl"
    whole = place.read_bytes()
    for damaged in DAMAGED_UNITS:
        place.write_bytes(whole[:20] if damaged is None else damaged)
        for read in (folder.rows, folder.records, folder.failures, folder.write_table):
            with pytest.raises(FileFormatError, match=r"003-unit\.jsonl") as caught:
                read()
            assert "\n" not in str(caught.value)
    assert not (folder.path / TABLE).exists()
    place.unlink()
    folder.add("003-unit", work.measure(work.task("003-unit")))
    assert made(folder) == undisturbed


def test_a_unit_has_one_owner_until_it_is_done_or_forgotten(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system has no locks, every claim succeeds."""
    with folder.claim("a") as mine, folder.claim("a") as theirs, folder.claim("b") as another:
        assert (mine, theirs, another) == (True, False, True)
        assert folder.claimed() == ["a", "b"]
        with ThreadPoolExecutor(1) as others:
            assert not others.submit(lambda: folder.claim("a").__enter__()).result()
        folder.add("a", UnitResult(rows=()))
    assert not (folder.path / CLAIMS / "a.lock").exists()
    assert folder.claimed() == []
    for unit in ("000-unit", "001-unit"):
        folder.add(unit, UnitResult(rows=()))
    folder.forget("001-unit")
    folder.forget("001-unit")
    assert folder.finished() == ["000-unit"]
    with folder.claim("a") as mine:
        assert mine
    (folder.path / CLAIMS / "a.lock").touch()
    for error in (NotImplementedError("no locks"), OSError(37, "No locks available")):

        def acquire(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
        with folder.claim("a") as mine:
            assert mine
        assert folder.claimed() == []


def test_a_run_is_resumed_with_changed_units(folder: RunFolder, work: SmallWork) -> None:
    """Finished units that remain in the plan stay; the others are deleted."""
    again = RunFolder.start(folder.path, work.spec, kind="small", units=work.units, command="another", request={"a": 2})
    assert again.manifest == folder.manifest == RunFolder.read(folder.path).manifest
    assert (again.manifest.command, again.manifest.request, again.manifest.units) == ("make it", {"a": 1}, work.units)
    fill(folder, work)
    units = [*work.units[:3], "new"]
    before = {unit: (folder.path / ROWS / f"{unit}.jsonl").stat().st_mtime_ns for unit in work.units[:3]}
    again = RunFolder.start(folder.path, work.spec, kind="small", units=units, command="later", request={})
    assert again.finished() == work.units[:3]
    assert {place.stem: place.stat().st_mtime_ns for place in (folder.path / ROWS).iterdir()} == before
    assert (again.manifest.units, again.manifest.command) == (units, "later")
    assert RunFolder.read(folder.path).manifest == again.manifest


VERSION = {"latentedit": __version__}
MANIFEST_CHANGES: list[tuple[dict[str, Any], type[LatentEditError], str]] = [
    ({"format": 99}, FileFormatError, "format"),
    (
        {"plan": {"count": 8, "half": 0.5, "names": ["a", "b"], "latentedit": "0.0.1"}},
        ConfigError,
        "latentedit",
    ),
    ({"kind": "large"}, ConfigError, "kind"),
    (
        {"plan": {"count": 8, "half": 0.4, "names": ["a", "b"], **VERSION}},
        ConfigError,
        "half",
    ),
    ({"plan": {"count": 8, "half": 0.5, "names": ["a", "b"], "more": 1, **VERSION}}, ConfigError, "more"),
    ({"plan": {"half": 0.5, "names": ["a", "b"], **VERSION}}, ConfigError, "count"),
    ({"latentedit": float("nan")}, FileFormatError, "run.json"),
    ({"plan": []}, FileFormatError, "plan"),
    ({"units": ["../x"]}, FileFormatError, "units"),
]


@pytest.mark.parametrize(("change", "kind", "words"), MANIFEST_CHANGES)
def test_the_folder_of_another_run_is_rejected_unchanged(
    tmp_path: Path, work: SmallWork, change: dict[str, Any], kind: type[LatentEditError], words: str
) -> None:
    report = begin(tmp_path / "first", work).manifest.model_dump() | change
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / MANIFEST).write_text(json.dumps(report))
    before = everything(tmp_path)
    with pytest.raises(kind, match=words) as caught:
        begin(tmp_path / "run", work)
    assert "\n" not in str(caught.value)
    assert everything(tmp_path) == before
    with pytest.raises(ConfigError):
        RunFolder.read(tmp_path / "notes")


def test_a_read_only_folder_is_rejected_at_the_start(
    folder: RunFolder, work: SmallWork, read_only_folder: Path
) -> None:
    with pytest.raises(OutputError):
        begin(read_only_folder / "run", work)
    (folder.path / TABLE).mkdir()
    with pytest.raises(OutputError):
        begin(folder.path, work)


@given(TEXTS | st.text(st.characters(exclude_categories=["Cs"]), min_size=80, max_size=300))
def test_file_names_are_portable(text: str) -> None:
    name = file_name(text)
    assert 1 <= len(name.encode()) <= 180
    assert name.isprintable()
    assert not set(name) & set('/\\:*?"<>|')
    assert name[0] not in ". "
    assert PurePosixPath(f"{name}.jsonl").stem == name


def test_long_texts_have_different_file_names() -> None:
    long = "a" * 300
    names = [file_name(text) for text in (long, long + "b", long[:-1], long[:200], "\u00e9" * 150)]
    assert len(set(names)) == len(names)
    assert [len(file_name("a" * length)) for length in (180, 181)] == [180, 180]
    assert file_name("a" * 180) == "a" * 180
    assert file_name(names[0]) != names[0], "names of short and long texts differ"
    assert file_name("plain M\u00fcller-1.5") == "plain M\u00fcller-1.5"
    assert file_name('50% "now"/') == "50%25 %22now%22%2F"
    assert file_name("caf\udce9") == "caf%3F", "a byte that is not valid UTF-8"
