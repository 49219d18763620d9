"""A Ray cluster gives the same table as this machine, whatever becomes of its workers."""

import importlib.util
import os
import shutil
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from latentedit.core.errors import ConfigError, OutputError
from latentedit_bench import cluster as cluster_module
from latentedit_bench.cluster import run_on_ray
from tests.api.runs.conftest import undisturbed
from tests.api.runs.small_work import begin, contents, small_work

__all__ = ["undisturbed"]

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two cores, in a folder of its own, whose path is short enough for sockets."""
    folder, others = tempfile.mkdtemp(prefix="ray-"), set(psutil.Process().children(recursive=True))
    os.environ.update(cluster_module._QUIET | {"RAY_TMPDIR": folder})
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    servers = set(psutil.Process().children(recursive=True)) - others
    try:
        yield made
    finally:
        made.shutdown()
        for left in psutil.wait_procs(list(servers), timeout=10)[1]:
            left.kill()
        os.environ.pop("RAY_TMPDIR")
        shutil.rmtree(folder, ignore_errors=True)


def test_a_killed_worker_is_survived(
    cluster: Any, tmp_path: Path, undisturbed: dict[str, bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    """Killed in the middle of a unit; nothing is done twice, and pictures travel as bytes."""
    work = small_work(tmp_path / "notes", fate={"003-unit": "killed"}, pause_s=0.05)
    folder, told = begin(tmp_path / "run", work), list[int]()
    folder.add("001-unit", work.measure(work.task("001-unit")))
    capfd.readouterr()
    run_on_ray(folder, work, address=cluster.address, workers=2, progress=lambda _, done, __: told.append(done))
    assert capfd.readouterr() == ("", "")
    folder.write_table()
    assert contents(folder.path) == undisturbed
    assert Counter(work.begun()) == {unit: 2 if unit in work.fate else 1 for unit in work.units}
    records = folder.records()
    assert [unit for unit, record in records.items() if not record.model_dump()["sent"]] == ["001-unit"]
    assert len({record.model_dump()["process"] for record in records.values()}) > 1  # one worker may do all the rest
    assert told[-1] == 8
    assert folder.claimed() == []


def test_an_error_of_a_worker_is_what_it_was(cluster: Any, tmp_path: Path) -> None:
    work = small_work(tmp_path / "notes", fate={"002-unit": "refused"})
    folder = begin(tmp_path / "run", work)
    with pytest.raises(ConfigError, match=r"^the unit 002-unit is refused. Leave it out$"):
        run_on_ray(folder, work, address=cluster.address, workers=1)
    assert folder.finished() == ["000-unit", "001-unit"]
    assert folder.claimed() == []


def test_another_version_is_refused(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = small_work(tmp_path / "notes")
    folder = begin(tmp_path / "run", work)
    monkeypatch.setattr(cluster_module, "__version__", "99.0")
    with pytest.raises(ConfigError, match=r"has latentedit \d.*, this run 99.0\. Install the same"):
        run_on_ray(folder, work, address=cluster.address, workers=1)


class Unfit:
    """A worker on a machine without the package."""

    def __init__(self, *_: object) -> None:
        raise ModuleNotFoundError("No module named 'latentedit'")

    def start(self) -> None:
        """Never."""


def test_a_machine_without_the_package_is_named(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = small_work(tmp_path / "notes")
    monkeypatch.setattr(cluster_module, "_Worker", Unfit)
    with pytest.raises(
        ConfigError, match=r"worker of the cluster cannot begin: .*No module named 'latentedit'. Install"
    ) as caught:
        run_on_ray(begin(tmp_path / "run", work), work, address=cluster.address, workers=1)
    assert "\n" not in str(caught.value)


def test_a_unit_that_no_worker_survives_is_named(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "TRIES", 2)
    work = small_work(tmp_path / "notes", fate={"001-unit": "deadly"})
    folder = begin(tmp_path / "run", work)
    with pytest.raises(OutputError, match=r"2 workers died at 001-unit, .* --batch") as caught:
        run_on_ray(folder, work, address=cluster.address, workers=1)
    assert "\n" not in str(caught.value)
    assert folder.finished() == ["000-unit"]
    assert work.begun().count("001-unit") == 2


def test_a_machine_that_never_comes_back_is_done_without(
    cluster: Any, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    """Each of two has a GPU, so that there is no room for a new worker in place of the lost one."""
    nodes = [cluster.add_node(num_cpus=1, num_gpus=1) for _ in range(2)]
    work = small_work(tmp_path / "notes", pause_s=0.5)
    folder, lost = begin(tmp_path / "run", work), list[bool]()

    def lose(_: str, done: int, __: int) -> None:
        if len({record.model_dump()["process"] for record in folder.records().values()}) == 2 and not lost:
            lost.append(True)
            cluster.remove_node(nodes.pop(), allow_graceful=False)

    try:
        run_on_ray(folder, work, address=cluster.address, progress=lose)
    finally:
        for node in nodes:
            cluster.remove_node(node)
    folder.write_table()
    assert lost
    assert contents(folder.path) == undisturbed


def test_an_address_that_does_not_answer_is_refused_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody there, or no address."""
    monkeypatch.setattr(cluster_module, "_ANSWER_S", 0.5)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    work = small_work(tmp_path / "notes")
    folder = begin(tmp_path / "run", work)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    started = time.monotonic()
    here = f"127.0.0.1:{port}"
    for address in (here, f"ray://{here}", "nowhere.invalid:6379", "head", "head:six", "127.0.0.1:99999", ""):
        with pytest.raises(ConfigError, match=r"no Ray cluster answers at .* Start one with: ray start") as caught:
            run_on_ray(folder, work, address=address)
        assert repr(address) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 30
    assert work.begun() == []


def test_auto_without_a_cluster_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    def refuse(**_: object) -> None:
        raise ConnectionError("Could not find any running Ray instance")

    monkeypatch.setattr(ray, "init", refuse)
    work = small_work(tmp_path / "notes")
    with pytest.raises(ConfigError, match="no Ray cluster answers at 'auto'"):
        run_on_ray(begin(tmp_path / "run", work), work, address="auto")
