"""The process of a server's calls: errors, limits, files of several servers, and what stays between calls."""

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from latentedit.core.errors import ConfigError
from latentedit.photo.images import read_content
from tests.batch.small_work import FORK, killed_alone, wait_until

anyio = pytest.importorskip("anyio")
from latentedit.agents import worker as mcp_worker  # noqa: E402
from latentedit.agents.tools import LOADING, Answer, Tool, ToolCall  # noqa: E402
from latentedit.agents.worker import Refusal  # noqa: E402

LIMIT_S = 1


def tool_of(function: Callable[..., Answer]) -> Tool:
    return Tool(title="", function=function, timeout_remedy="Pass less")


@contextlib.contextmanager
def started(root: Path, seconds: float = 20) -> Iterator[mcp_worker.Worker]:
    worker = mcp_worker.Worker(root, seconds, method="fork")
    yield worker
    worker.end()


def called(worker: mcp_worker.Worker, function: Callable[..., Answer], **arguments: Any) -> Any:
    return anyio.run(worker.call, tool_of(function), arguments)


def refusal(worker: mcp_worker.Worker, function: Callable[..., Answer], **arguments: Any) -> str:
    outcome = called(worker, function, **arguments)
    assert isinstance(outcome, Refusal)
    return outcome.message


def process_number(worker: mcp_worker.Worker) -> int:
    return called(worker, _number).values["number"]


def in_process(function: Callable[..., Answer], root: Path, **arguments: Any) -> Any:
    with started(root) as worker:
        return called(worker, function, **arguments)


def _fail(call: ToolCall, error: BaseException) -> Any:
    raise error


def _leave(call: ToolCall) -> Any:
    os._exit(9)


def _late(call: ToolCall) -> Any:
    Path("begun").touch()
    time.sleep(0.3)
    Path("late").touch()


def _number(call: ToolCall) -> Answer:
    return Answer({"number": os.getpid()})


def _work(call: ToolCall, loading_s: float, working_s: float) -> Answer:
    call.report_progress(LOADING, 0, 1)
    time.sleep(loading_s)
    call.report_progress(LOADING, 1, 1)
    call.report_progress("paint", 3, 9)
    time.sleep(working_s)
    return Answer({"done": True})


def test_errors_of_a_call_are_named_and_internal_ones_end_the_process(tmp_path: Path) -> None:
    cases = [
        (ZeroDivisionError("by\nzero"), "internal error: ZeroDivisionError: by zero", True),
        (MemoryError(), "there is too little memory", True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "there is too little memory", True),
        (ConfigError("odd. Change it"), "odd. Change it", False),
    ]
    with started(tmp_path) as worker:
        for error, message, ends in cases:
            before = process_number(worker)
            assert refusal(worker, _fail, error=error).startswith(message)
            assert (process_number(worker) != before) == ends
        message = refusal(worker, _leave)
        assert message == "internal error: the call's process ended with 9. See the server's log"
        assert process_number(worker)


def test_calls_share_one_process_until_none_came_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with started(tmp_path) as worker:
        first = process_number(worker)
        assert process_number(worker) == first
        assert len(multiprocessing.active_children()) == 1
        monkeypatch.setattr(mcp_worker, "_IDLE_S", mcp_worker._IDLE_MARGIN_S)
        assert process_number(worker) != first
        assert len(multiprocessing.active_children()) == 1
    assert not multiprocessing.active_children()


def test_a_process_without_calls_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_worker, "_IDLE_S", 0.1)
    monkeypatch.setattr(mcp_worker, "_IDLE_MARGIN_S", 0)
    with started(tmp_path) as worker:
        process_number(worker)
        wait_until(lambda: not multiprocessing.active_children())


def test_the_limit_counts_from_the_first_step_of_work(tmp_path: Path) -> None:
    with started(tmp_path, LIMIT_S) as worker:
        result = called(worker, _work, loading_s=1.2 * LIMIT_S, working_s=0)
    assert result.values == {"done": True}


@pytest.mark.slow
def test_a_stopped_call_names_what_was_not_done_and_the_next_one_works(tmp_path: Path) -> None:
    with started(tmp_path, LIMIT_S) as worker:
        before = process_number(worker)
        assert refusal(worker, _work, loading_s=0, working_s=60) == (
            "the call was stopped at its limit of 1 s, with 3 of 9 steps of 'paint' done. It has no result. Pass less"
        )
        assert not multiprocessing.active_children()
        assert process_number(worker) != before


def test_loading_that_takes_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_worker, "_MAXIMUM_LOADING_S", 1)
    with started(tmp_path) as worker:
        message = refusal(worker, _work, loading_s=60, working_s=0)
        assert message.startswith("the call was stopped: loading the model took more than 1 s. It has no result")
        assert "Pass less" not in message
        assert process_number(worker)


def _exchange(call: ToolCall) -> Answer:
    """A folder becomes a link out of the root after its file was found."""
    file = call.input_file("sub/a.png")
    Path("sub").rename("moved")
    Path("sub").symlink_to(Path("../outside"))
    return Answer({"read": read_content(file).decode()})


def test_a_folder_that_becomes_a_link_during_a_call_is_not_read(tmp_path: Path) -> None:
    for folder in ("root/sub", "outside"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.png").write_bytes(b"\x89PNG secret")
    outcome = in_process(_exchange, tmp_path / "root")
    assert isinstance(outcome, Refusal)
    assert "internal" not in outcome.message


def test_a_call_ends_with_its_server(tmp_path: Path) -> None:
    server = FORK.Process(target=in_process, args=(_late, tmp_path))
    server.start()
    wait_until((tmp_path / "begun").exists)
    killed_alone(server, 1)
    assert not (tmp_path / "late").exists()
