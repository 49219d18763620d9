"""An uninterrupted run, for comparison."""

import pytest

from latentedit.batch.executors import run_work
from tests.batch.small_work import begin, contents, small_work


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """`contents` of the uninterrupted run."""
    path = tmp_path_factory.mktemp("undisturbed")
    work = small_work(path / "notes")
    folder = begin(path / "run", work)
    run_work(folder, work)
    folder.write_table()
    return contents(folder.path)
