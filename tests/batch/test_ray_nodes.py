"""Two nodes of Ray on this machine: after kills, full disks and stops, rows and exit codes are those of local runs."""

import contextlib
import dataclasses
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil
import pytest

from tests.batch.small_work import wait_until

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed"),
    pytest.mark.skipif(sys.platform != "linux", reason="nodes are found by Linux's process names"),
]
LIMIT_S = 300.0  # the longest time for one step; a run takes a minute on two busy cores
STARTS = 3  # Ray gives a node 30 s to start, which a busy machine may exceed
RUN = ["bench", "run", "--items", "6", "--method", "eim", "--seeds", "1", "--batch", "1"]
UNITS = 12  # six images, and six of the codec alone
TOKEN = "0123456789abcdef" * 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nodes:
    """A head and a second node, one core each."""

    folder: Path  # Ray writes its files here; the path is short enough for sockets
    address: str
    env: dict[str, str]

    @classmethod
    def start(cls, **env: str) -> "Nodes":
        port = _free_port()
        nodes = cls(
            folder=Path(tempfile.mkdtemp(prefix="ray-")),
            address=f"127.0.0.1:{port}",
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", **env},
        )
        nodes._begin("--head", f"--port={port}", f"--temp-dir={nodes.folder}", "--include-dashboard=false")
        return nodes

    def add(self) -> None:
        """Start the second node."""
        self._begin(f"--address={self.address}")

    def _begin(self, *options: str) -> None:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--num-cpus=1", *options]
        problem = ""
        for _ in range(STARTS):
            ended = subprocess.run(
                [*command, "--object-store-memory=80000000", "--disable-usage-stats"],
                env=self.env, capture_output=True, text=True, timeout=LIMIT_S, check=False,
            )  # fmt: skip
            if ended.returncode == 0:
                return
            problem += ended.stdout + ended.stderr
        pytest.fail(problem)

    def raylets(self) -> list[psutil.Process]:
        """Raylets, one for each node, the head first."""
        found = [one for one in psutil.process_iter() if self._is_raylet(one)]
        return sorted(found, key=lambda one: one.create_time())

    def _is_raylet(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            return process.name() == "raylet" and str(self.folder) in " ".join(process.cmdline())
        return False

    def workers(self, doing: str = "") -> list[psutil.Process]:
        """Worker processes of latentedit, found by the title that Ray gives them; `doing` names the method they run."""
        found = list[psutil.Process]()
        for raylet in self.raylets():
            for one in _children(raylet):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if f"ray::_Worker.{doing}" in " ".join(one.cmdline()):
                        found.append(one)
        return found

    def kill_second(self) -> None:
        """Kill all its processes."""
        raylet = self.raylets()[1]
        for one in [raylet, *_children(raylet)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        wait_until(lambda: len(self.raylets()) == 1, seconds=LIMIT_S)

    def kill_head(self) -> None:
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess):
                if one.name() == "gcs_server" and str(self.folder) in " ".join(one.cmdline()):
                    one.kill()

    def stop(self) -> None:
        left = [child for raylet in self.raylets() for child in _children(raylet)]
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess):
                if str(self.folder) in " ".join(one.cmdline()):
                    left.append(one)
        for one in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(left, timeout=10)
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


class Run:
    """The command in its own process, with what it prints."""

    def __init__(
        self, folder: Path, *options: str, before: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> None:
        self.folder, self._log, self.began = folder, folder.with_suffix(".log"), time.monotonic()
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*before, sys.executable, "-m", "latentedit.cli.main", *RUN, *options, "-o", str(folder)],
                stdout=subprocess.DEVNULL, stderr=log, env={**os.environ, **(env or {})},
            )  # fmt: skip

    def finished(self) -> int:
        """Units, while it runs."""
        assert self.process.poll() is None, self.printed()
        return len(list((self.folder / "rows").glob("*.jsonl")))

    def reach(self, units: int) -> None:
        wait_until(lambda: self.finished() >= units, seconds=LIMIT_S)

    def code(self) -> int:
        """Exit code; its seconds are printed for the table in the documentation (pytest -s)."""
        try:
            code = self.process.wait(LIMIT_S)
        finally:
            self.process.kill()
        name = os.environ.get("PYTEST_CURRENT_TEST", "").split("::")[-1].split(" ")[0]
        sys.stderr.write(f"{name}: {code} after {time.monotonic() - self.began:.0f} s\n")
        return code

    def printed(self) -> list[str]:
        """Lines on standard error, without progress."""
        lines = self._log.read_text().replace("\r", "\n").splitlines()
        return [line for line in lines if line.strip() and not line.startswith("bench: ")]

    def rows(self) -> bytes:
        return (self.folder / "rows.csv").read_bytes()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Rows of a run in one process."""
    run = Run(tmp_path_factory.mktemp("local") / "run", "--workers", "1")
    assert run.code() == 0, run.printed()
    return run.rows()


@pytest.fixture(scope="module")
def running() -> Iterator[Nodes]:
    nodes = Nodes.start()
    try:
        yield nodes
    finally:
        nodes.stop()


@pytest.fixture
def nodes(running: Nodes) -> Nodes:
    """Both nodes, also if the test before killed the second."""
    if len(running.raylets()) == 1:
        running.add()
    return running


def both_measure(run: Run, nodes: Nodes) -> None:
    """Wait until a worker of each node does a task."""
    wait_until(
        lambda: run.finished() >= 0 and len({worker.ppid() for worker in nodes.workers("measure")}) == 2,
        seconds=LIMIT_S,
    )


def equal(folder: Path, nodes: Nodes, local: bytes) -> bool:
    """Whether the same command resumes the run, keeps finished parts, and ends with the rows of a local one."""
    kept = {path: path.read_bytes() for path in folder.glob("rows/*.jsonl")}  # they contain the seconds of each part
    run = Run(folder, "--ray", nodes.address)
    assert (run.code(), run.printed()) == (0, [])
    return run.rows() == local and all(path.read_bytes() == content for path, content in kept.items())


@pytest.mark.parametrize(
    "disturb",
    [
        pytest.param(lambda _: None, id="undisturbed"),
        pytest.param(lambda nodes: nodes.workers("measure")[0].kill(), id="a killed worker is replaced"),
        # Its core is gone, so no new worker has room: the other must do all.
        pytest.param(Nodes.kill_second, id="a killed node is not needed"),
    ],
)
def test_each_node_has_a_worker_and_the_rows_are_equal(
    nodes: Nodes, local: bytes, tmp_path: Path, disturb: Callable[[Nodes], object]
) -> None:
    run = Run(tmp_path / "run", "--ray", nodes.address)
    both_measure(run, nodes)
    disturb(nodes)
    assert (run.code(), run.printed()) == (0, [])
    assert run.rows() == local


def test_a_killed_driver_leaves_no_worker_and_its_run_resumes(nodes: Nodes, local: bytes, tmp_path: Path) -> None:
    run = Run(tmp_path / "run", "--ray", nodes.address)
    run.reach(2)
    run.process.kill()
    assert run.code() == -signal.SIGKILL
    wait_until(lambda: not nodes.workers(), seconds=LIMIT_S)
    assert equal(run.folder, nodes, local)


def test_sigterm_ends_in_one_line_and_143(nodes: Nodes, local: bytes, tmp_path: Path) -> None:
    run = Run(tmp_path / "run", "--ray", nodes.address)
    run.reach(2)
    run.process.terminate()
    assert run.code() == 128 + signal.SIGTERM
    assert len(run.printed()) == 1
    wait_until(lambda: not nodes.workers(), seconds=LIMIT_S)
    assert equal(run.folder, nodes, local)


def test_a_full_disk_ends_the_run_as_locally(nodes: Nodes, local: bytes, tmp_path: Path) -> None:
    """The folder is on a small disk that only the command sees; it is full when the first rows are written."""
    disk = ("unshare", "--user", "--map-root-user", "--mount")
    if subprocess.run([*disk, "mount", "-t", "tmpfs", "tmpfs", tmp_path], check=False, capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here")
    (small := tmp_path / "small").mkdir()
    script = f"""mount -t tmpfs -o size=2m tmpfs {small}
        "$@" & driver=$!
        until ls {small}/run/rows/*.jsonl; do sleep .1; done >/dev/null 2>&1
        head -c 9m /dev/zero >{small}/filler 2>/dev/null
        wait $driver; echo $? >{tmp_path}/code
        rm {small}/filler; "$@" && cp {small}/run/rows.csv {tmp_path}"""
    ends = list[tuple[str, int]]()
    for options in (("--workers", "1"), ("--ray", nodes.address)):
        run = Run(small / "run", *options, before=(*disk, "sh", "-c", script, "sh"))
        assert run.code() == 0, run.printed()
        assert (tmp_path / "rows.csv").read_bytes() == local
        ends.append(((tmp_path / "code").read_text(), len(run.printed())))
    assert ends[0] == ends[1] == ("2\n", 2), "an error and a hint"


def test_a_worker_that_dies_while_it_loads_leaves_the_work_to_the_other(
    nodes: Nodes, local: bytes, tmp_path: Path
) -> None:
    run = Run(tmp_path / "run", "--ray", nodes.address)
    wait_until(lambda: nodes.workers("load"), seconds=LIMIT_S)
    nodes.workers("load")[0].kill()
    assert run.code() == 0
    assert len(run.printed()) == 1, "a warning"
    assert run.rows() == local


def test_a_run_whose_workers_all_die_ends_with_a_line(nodes: Nodes, local: bytes, tmp_path: Path) -> None:
    run, killed = Run(tmp_path / "run", "--ray", nodes.address), set[int]()
    while run.process.poll() is None and time.monotonic() < run.began + LIMIT_S:
        for worker in nodes.workers():
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
                killed.add(worker.pid)
        time.sleep(0.05)
    assert (run.code(), len(killed)) == (2, 5)
    assert [line.startswith("error: ") for line in run.printed()][-2:-1] == [True]
    assert equal(run.folder, nodes, local)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Nodes, Path, Path]]:
    """A node that wants a token, because its account has one; the home of that account, and one without."""
    (home := tmp_path_factory.mktemp("home") / ".ray").mkdir()
    (home / "auth_token").write_text(TOKEN)
    nodes = Nodes.start(HOME=str(home.parent))
    try:
        yield nodes, home.parent, tmp_path_factory.mktemp("other")
    finally:
        nodes.stop()


@pytest.mark.parametrize("source", ["home", "variable", "file"])
def test_a_token_of_the_account_opens_the_cluster(
    locked: tuple[Nodes, Path, Path], local: bytes, tmp_path: Path, source: str
) -> None:
    nodes, home, other = locked
    env = {
        "home": {"HOME": str(home)},
        "variable": {"HOME": str(other), "RAY_AUTH_TOKEN": TOKEN},
        "file": {"HOME": str(other), "RAY_AUTH_TOKEN_PATH": str(home / ".ray" / "auth_token")},
    }[source]
    run = Run(tmp_path / "run", "--ray", nodes.address, env=env)
    assert (run.code(), run.printed()) == (0, [])
    assert run.rows() == local


@pytest.mark.parametrize("token", [None, "another"])
def test_without_the_token_an_error_names_it(
    locked: tuple[Nodes, Path, Path], tmp_path: Path, token: str | None
) -> None:
    nodes, _, other = locked
    run = Run(
        tmp_path / "run",
        "--ray",
        nodes.address,
        env={"HOME": str(other)} | ({"RAY_AUTH_TOKEN": token} if token else {}),
    )
    assert run.code() == 2
    assert "RAY_AUTH_TOKEN" in run.printed()[-1]


def test_a_killed_head_ends_the_run_which_resumes_on_another(
    running: Nodes, local: bytes, tmp_path: Path, make: Callable[[], Nodes]
) -> None:
    nodes = make()
    run = Run(tmp_path / "run", "--ray", nodes.address, env={"RAY_gcs_rpc_server_reconnect_timeout_s": "5"})
    run.reach(2)
    nodes.kill_head()
    assert run.code() == 1
    assert equal(run.folder, running, local)


@pytest.fixture
def make() -> Iterator[Callable[[], Nodes]]:
    made = list[Nodes]()

    def start() -> Nodes:
        made.append(Nodes.start())
        return made[-1]

    yield start
    for nodes in made:
        nodes.stop()
