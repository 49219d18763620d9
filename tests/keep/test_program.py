"""The program without models: exit codes, signals, and the end of its workers."""

import concurrent.futures
import errno
import gc
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import psutil
import pytest
from PIL import Image

from latentedit.cli import program
from latentedit.cli.commands import COMMANDS, TORCH_FREE_COMMANDS
from latentedit.core import workers
from latentedit.core.console import fail
from latentedit.core.errors import ConfigError, ImageError, RegistryError, explaining
from latentedit.keeping.pairs import each_pair
from latentedit.keeping.undoing import undo_difference
from latentedit.photo.images import fingerprint_of, read_image
from latentedit.photo.saving import save_image
from tests.batch.small_work import FORK, alive, killed_alone, wait_until
from tests.keep.pairs import scene, with_object

# Start of a program in which no models are installed.
ALONE = """import importlib.metadata, os, signal, sys
sys.modules |= dict.fromkeys(("torch", "diffusers", "transformers", "jaxtyping", "scipy", "safetensors"))
from latentedit.cli import main, program
"""


def alone(before: str, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the program of this package in a process, after some code."""
    code = f"{ALONE}{before}\nmain.main()"
    line = [sys.executable, "-c", code, *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False, cwd=folder)


def each_alone(*lines: tuple[str, ...], folder: Path | None = None) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of command lines, run one after the other in one such process."""
    ended = alone(
        "import contextlib, io, json\n"
        "def each(_, run=program.run):\n"
        "    found = []\n"
        f"    for line in {lines!r}:\n"
        "        out, err = io.StringIO(), io.StringIO()\n"
        "        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):\n"
        "            code = run([*line])\n"
        "        found.append((code, out.getvalue(), err.getvalue()))\n"
        "    print(json.dumps(found))\n"
        "    return 0\n"
        "program.run = each",
        folder=folder,
    )
    assert ended.returncode == 0, ended.stderr
    return [tuple(one) for one in json.loads(ended.stdout)]


@pytest.mark.slow
def test_a_file_name_that_is_too_long_is_rejected() -> None:
    for code, _, err in each_alone(("keep", "n" * 5000, "n" * 300), ("check", "n" * 300, "b.png")):
        assert (code, "too long" in err) == (2, True)


def test_an_internal_error_prints_its_traceback_without_control_characters() -> None:
    ended = alone(r"program.run = lambda _: {}['\x1b[31m']")
    assert ended.returncode == 70
    assert ended.stderr.startswith("Traceback (most recent call last):\n  File ")
    assert "\x1b" not in ended.stderr
    assert "internal error" in ended.stderr


@pytest.mark.slow
def test_commands_of_other_packages_say_what_they_need() -> None:
    assert alone("", "--version").stdout.startswith("latentedit ")
    names = list(COMMANDS.own)
    pages = [("--help",), ("-h",), ("help",), ("help", "keep"), ("keep", "-h")]
    ended = each_alone(*pages, *((name, "--help") for name in names))
    page, short, asked, *of_keep = (out for _, out, _ in ended[:5])
    assert ("latentedit check" in page, "latentedit edit" in page, "install models" in page) == (True, False, True)
    assert page == short == asked
    assert of_keep[0] == of_keep[1] != page
    for name, (code, _, err) in zip(names, ended[5:], strict=True):
        # The help of some commands needs no model; of all others, the error says what to install.
        assert code == 0 or (code, "pip install '.[models]'" in err) == (2, True), name
        assert code == 0 or name not in TORCH_FREE_COMMANDS


@pytest.mark.slow
def test_an_edit_without_models_names_the_extra(tmp_path: Path) -> None:
    Image.fromarray(scene()).save(tmp_path / "a.png")
    lines = [("edit", "a.png", "--add", "glasses"), ("sweep", "a.png", "--add", "glasses")]
    for code, _, err in each_alone(*lines, ("models", "list"), folder=tmp_path):
        assert (code, "pip install '.[models]'" in err) == (2, True), err


@pytest.mark.slow
def test_a_name_of_python_that_needs_models_names_the_extra() -> None:
    code = "import latentedit as le\ntry:\n    le.load\nexcept ImportError as error:\n    print(error)"
    ended = subprocess.run([sys.executable, "-c", f"{ALONE}{code}"], capture_output=True, text=True, check=True)
    assert "pip install '.[models]'" in ended.stdout


@pytest.mark.slow
def test_pages_and_undo_need_no_library(tmp_path: Path) -> None:
    source, edited = Image.fromarray(scene()), Image.fromarray(with_object(scene()))
    source.save(tmp_path / "a.png")
    record = json.dumps({"output": "image", "image": {"fingerprint": fingerprint_of(source)}})
    save_image(edited, tmp_path / "b.png", record=record, payload=undo_difference(source, edited))
    kept = ("keep", "a.png", "b.png", "--view", "view.html")
    (code, _, err), undone = each_alone(kept, ("undo", "b.png"), folder=tmp_path)
    assert (code, (tmp_path / "view.html").is_file()) == (0, True), err
    assert (undone[0], "every pixel" in undone[1]) == (0, True), undone
    assert fingerprint_of(read_image(tmp_path / "b.undone.png")) == fingerprint_of(source)


def _opencv_without_memory() -> object:
    return cv2.resize(np.zeros((9, 9), np.uint8), (1_000_000, 1_000_000))


def _raise(error: Exception | Callable[[], object]) -> None:
    if isinstance(error, Exception):
        raise error
    error()


NO_MEMORY = [
    MemoryError(),
    lambda: np.zeros((10**7, 10**7)),
    _opencv_without_memory,
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("CUDA error: out of memory"),
    OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    OSError("out of memory error when reading image file"),
    OSError("[WinError 1455] The paging file is too small for this operation to complete"),
    ImportError("libcv.so: failed to map segment from shared object: Cannot allocate memory"),
]
OTHERS = [
    RuntimeError("expected 3 channels"),
    FileNotFoundError(errno.ENOENT, "No such file", "out of memory.png"),
    ImportError("libgomp.so.1: cannot allocate memory in static TLS block"),
    ImportError("libcv.so: failed to map segment from shared object: Operation not permitted"),
    RuntimeError("can't start new thread"),
]


@pytest.mark.parametrize("error", NO_MEMORY)
def test_too_little_memory_is_explained_whichever_library_it_comes_from(
    error: Exception | Callable[[], object],
) -> None:
    with pytest.raises(ImageError, match=r"memory.*Scale") as raised:
        explaining(_raise)(error)
    wrapped = RegistryError("the command cannot be imported. Install it again")
    wrapped.__cause__ = raised.value.__cause__
    for one in (raised.value, wrapped.__cause__, wrapped):
        assert "memory" in (program.explained(one) or "")


@pytest.mark.parametrize("error", OTHERS)
def test_other_errors_are_not_called_too_little_memory(error: Exception) -> None:
    with pytest.raises(type(error)):
        explaining(_raise)(error)
    assert program.explained(error) is None


@pytest.mark.parametrize("error", OTHERS[-2:])
def test_two_errors_are_too_little_memory_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr("mmap.mmap", full)
    assert "memory" in (program.explained(error) or "")


@pytest.mark.parametrize("value", ["x" * 100_000, "a b " * 30_000, "line\n" * 20_000, [0.5] * 20_000])
def test_a_message_repeats_no_long_value(value: object, capsys: pytest.CaptureFixture[str]) -> None:
    for given in (value, repr(value)):
        line = str(ConfigError(f"the strength must be a number; got {given}. Give one such as 0.7"))
        fail(f"no such option: {given}. Give one such as 0.7")
        for text in (line, capsys.readouterr().err):
            assert len(text) < 1400
            assert text.rstrip().endswith("Give one such as 0.7")


@pytest.mark.slow_except("SIGTERM")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_leaves_no_partial_file(tmp_path: Path, name: str) -> None:
    act = (
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # tests may run under nohup
        "from latentedit.core.files import atomic_file\n"
        "def run(_):\n"
        f"    with atomic_file('made') as file: os.kill(os.getpid(), signal.{name}); file.write(b'it')\n"
        "program.run = run"
    )
    ended = alone(act, folder=tmp_path)
    assert (ended.returncode, name in ended.stderr) == (128 + getattr(signal, name), True)
    assert list(tmp_path.iterdir()) == []


def test_a_deleted_current_folder_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert program.execute(lambda _: 0) == 2
    assert "was deleted" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["typer", "latentedit.core.console", "latentedit.core.plugins"])
def test_ctrl_c_during_the_imports_prints_one_line(module: str) -> None:
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # tests may run in the background
        "class Slow:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Slow())\n"
        "from latentedit.cli.main import main\nmain()"
    )
    ended = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "latentedit: interrupted\n")


def test_ctrl_c_in_a_command_prints_one_line() -> None:
    act = (
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def slow():\n"
        "    'Wait.'\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "sys.modules['slow'] = program\n"
        "program.slow = slow\n"
        "from latentedit.cli.commands import COMMANDS\n"
        "COMMANDS.own['slow'] = 'slow:slow'"
    )
    ended = alone(act, "slow")
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "latentedit: interrupted\n")


FORKING = SimpleNamespace(get_context=lambda _: FORK, parent_process=multiprocessing.parent_process)


def _check() -> None:
    workers.multiprocessing = FORKING
    list(each_pair(dict.fromkeys("ab"), lambda: _sleep, kind="pairs", workers=2))


def _sleep(*_: object) -> None:
    time.sleep(60)


def test_no_worker_outlives_the_process_that_started_it() -> None:
    driver = FORK.Process(target=_check)
    driver.start()
    wait_until(lambda: len(psutil.Process(driver.pid).children()) == 2)
    time.sleep(0.1)  # until they have begun
    killed_alone(driver, 2)


def _dies_once(notes: Path) -> str:
    if notes.name == "deadly" and not notes.exists():
        notes.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return notes.name


def _start() -> Callable[[Path], str]:
    return _dies_once


def test_a_task_is_done_that_was_given_out_after_a_death(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "multiprocessing", FORKING)
    with workers.processes(_start, 2, "") as pool:
        pool.submit("first", tmp_path / "deadly")
        concurrent.futures.wait(pool.running)
        pool.submit("second", tmp_path / "harmless")
        with pytest.warns(UserWarning, match="died"):
            assert dict(workers.each(iter(()), pool)) == {"first": "deadly", "second": "harmless"}


def _own_process() -> Callable[[tuple[str, int]], int]:
    return lambda _: os.getpid()


def _without_semaphores(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def no_semaphore(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("_multiprocessing.SemLock", no_semaphore)


def _without_processes(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    start, started = BaseProcess.start, list[object]()

    def refused(process: BaseProcess) -> None:
        if len(started) == most:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        started.append(process)
        start(process)

    monkeypatch.setattr(BaseProcess, "start", refused)


def _without_threads(monkeypatch: pytest.MonkeyPatch, _: int) -> None:
    def refused(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("concurrent.futures.process._ExecutorManagerThread.start", refused)


def _without_module(monkeypatch: pytest.MonkeyPatch, _: int) -> None:
    monkeypatch.setitem(sys.modules, "multiprocessing.synchronize", None)


@pytest.mark.slow_except(
    "_without_processes-0", "_without_semaphores-13", "_without_semaphores-28", "_without_semaphores-38"
)
@pytest.mark.parametrize(
    ("lack", "number"),
    [
        *((_without_semaphores, number) for number in (errno.EROFS, errno.ENOSYS, errno.EACCES, errno.ENOSPC)),
        *((_without_processes, most) for most in (0, 1)),
        (_without_threads, 0),
        (_without_module, 0),
    ],
)
def test_tasks_are_done_in_this_process_where_no_others_can_be_started(
    monkeypatch: pytest.MonkeyPatch, lack: Callable[[pytest.MonkeyPatch, int], None], number: int
) -> None:
    monkeypatch.setattr(workers, "multiprocessing", FORKING)
    lack(monkeypatch, number)
    pairs, before = {str(name): None for name in range(5)}, psutil.Process().children()
    with pytest.warns(UserWarning, match="cannot be started") as warned:
        found = dict(each_pair(pairs, _own_process, kind="pairs", workers=3))
    assert (found, len(warned)) == (dict.fromkeys(pairs, os.getpid()), 1)
    started = [child for child in psutil.Process().children() if child not in before]
    wait_until(lambda: not any(alive(child.pid) for child in started), seconds=9)


def _short(task: tuple[str, object]) -> str:
    if task[0] == "large":
        raise MemoryError
    return task[0]


def test_a_pair_that_does_not_fit_into_memory_fails_alone() -> None:
    found = dict(each_pair({"large": None, "small": None}, lambda: _short, kind="pairs"))
    assert ("memory" in found["large"], found["small"]) == (True, "small")


class _Cyclic:
    def __init__(self) -> None:
        self.own = self


@pytest.mark.parametrize("count", [3, 30])
def test_garbage_of_many_pairs_does_not_pile_up(count: int) -> None:
    left = list[weakref.ref[_Cyclic]]()
    gc.disable()
    try:
        for _ in each_pair(
            dict.fromkeys(map(str, range(count))), lambda: lambda _: left.append(weakref.ref(_Cyclic())), kind="pairs"
        ):
            assert sum(one() is not None for one in left) <= 1
    finally:
        gc.enable()
