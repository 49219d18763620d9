"""Small work with its run folder, and an uninterrupted run, for comparison."""

from pathlib import Path

import pytest

from latentedit.batch.executors import run_work
from latentedit.batch.folder import RunFolder
from tests.batch.small_work import SmallWork, begin, contents, small_work
from tests.commands import miniature

__all__ = ["miniature"]


@pytest.fixture
def work(tmp_path: Path) -> SmallWork:
    return small_work(tmp_path / "notes")


@pytest.fixture
def folder(tmp_path: Path, work: SmallWork) -> RunFolder:
    return begin(tmp_path / "run", work)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """`contents` of the uninterrupted run."""
    path = tmp_path_factory.mktemp("undisturbed")
    work = small_work(path / "notes")
    folder = begin(path / "run", work)
    run_work(folder, work)
    folder.write_table()
    return contents(folder.path)
