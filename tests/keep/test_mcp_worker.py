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
from latentedit.agents.tools import LOADING, Tool, new_file  # noqa: E402

LIMIT_S = 1


def tool_of(task: Callable[..., Any]) -> Tool:
    return Tool(title="", declared=lambda: None, task=task, files=(), quicker="Pass less")


@contextlib.contextmanager
def started(root: Path, seconds: float = 20) -> Iterator[mcp_worker.Worker]:
    worker = mcp_worker.Worker(root, seconds, method="fork")
    yield worker
    worker.end()


def answered(worker: mcp_worker.Worker, task: Callable[..., Any], **arguments: Any) -> Any:
    return anyio.run(worker.call, tool_of(task), {"places": {}, **arguments})


def in_process(task: Callable[..., Any], root: Path, **arguments: Any) -> Any:
    with started(root) as worker:
        return answered(worker, task, **arguments)


def _fail(places: dict[str, Any], error: BaseException) -> Any:
    raise error


def _leave(places: dict[str, Any]) -> Any:
    os._exit(9)


def _late(places: dict[str, Any]) -> Any:
    Path("begun").touch()
    time.sleep(0.3)
    Path("late").touch()


def _number(places: dict[str, Any]) -> Any:
    return {"number": os.getpid()}, None


def _work(places: dict[str, Any], step: Callable[..., None], loading_s: float, working_s: float) -> Any:
    step(LOADING, 0, 1)
    time.sleep(loading_s)
    step(LOADING, 1, 1)
    step("paint", 3, 9)
    time.sleep(working_s)
    return {"output": new_file(places["stage"], "output", Path("done.png"))}, None


def test_errors_of_a_call_are_named_and_internal_ones_end_the_process(tmp_path: Path) -> None:
    cases = [
        (ZeroDivisionError("by\nzero"), "internal error: ZeroDivisionError: by zero", 1),
        (MemoryError(), "there is too little memory", 1),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "there is too little memory", 1),
        (ConfigError("odd. Change it"), "odd. Change it", 0),
    ]
    with started(tmp_path) as worker:
        for error, line, ends in cases:
            before = answered(worker, _number)
            answer, panel = answered(worker, _fail, error=error)
            assert isinstance(answer, str)
            assert (answer.startswith(line), panel) == (True, None)
            assert (answered(worker, _number) != before) == ends
        answer, _ = answered(worker, _leave)
        assert answer == "internal error: the call's process ended with 9. See the server's log"
        assert answered(worker, _number)[0]["number"]


def test_calls_share_one_process_until_none_came_for_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with started(tmp_path) as worker:
        first, second = answered(worker, _number), answered(worker, _number)
        assert first == second
        assert len(multiprocessing.active_children()) == 1
        monkeypatch.setattr(mcp_worker, "_IDLE_S", mcp_worker._ENDING_S)
        third = answered(worker, _number)
        assert third != first
        assert len(multiprocessing.active_children()) == 1
    assert not multiprocessing.active_children()


def test_a_process_without_calls_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_worker, "_IDLE_S", 0.1)
    monkeypatch.setattr(mcp_worker, "_ENDING_S", 0)
    with started(tmp_path) as worker:
        answered(worker, _number)
        wait_until(lambda: not multiprocessing.active_children())


def test_the_limit_counts_from_the_first_step_of_work(tmp_path: Path) -> None:
    with started(tmp_path, LIMIT_S) as worker:
        answer, _ = answered(worker, _work, loading_s=1.2 * LIMIT_S, working_s=0)
    assert isinstance(answer, str)
    assert "No such file" in answer, "the task wrote nothing, and no limit stopped it"


@pytest.mark.slow
def test_a_stopped_call_names_what_was_not_done_and_the_next_one_works(tmp_path: Path) -> None:
    with started(tmp_path, LIMIT_S) as worker:
        before = answered(worker, _number)
        answer, panel = answered(worker, _work, loading_s=0, working_s=60)
        assert panel is None
        assert answer == (
            "the call was stopped at its limit of 1 s, with 3 of 9 steps of 'paint' done. "
            "It wrote no file and has no result. Pass less"
        )
        assert not multiprocessing.active_children()
        assert answered(worker, _number) != before
    assert not [*tmp_path.iterdir()]


def test_loading_that_takes_too_long_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_worker, "_MOST_LOADING_S", 1)
    with started(tmp_path) as worker:
        answer, _ = answered(worker, _work, loading_s=60, working_s=0)
        assert answer.startswith("the call was stopped: loading the model took more than 1 s. It wrote no file")
        assert "Pass less" not in answer
        assert answered(worker, _number)[0]["number"]


def _write(places: dict[str, Any], text: str, name: str | None = None) -> Any:
    """Write when two calls have come as far."""
    new = new_file(places["stage"], "output", name and Path(name), (Path("a.png"), "kept.png"))
    new.file.write_text(text)
    Path(f"ready-{text}").touch()
    wait_until(lambda: len(list(Path().glob("ready-*"))) == 2)
    return {"output": new}, None


def together(root: Path, **options: str) -> dict[str, Any]:
    """The answers to two calls of two servers at the same time, by what they write."""
    found = dict[str, Any]()

    async def one(text: str) -> None:
        with started(root, 60) as worker:
            found[text], _ = await worker.call(tool_of(_write), {"places": {}, "text": text, **options})

    async def both() -> None:
        async with anyio.create_task_group() as group:
            for text in ("1", "2"):
                group.start_soon(one, text)

    anyio.run(both)
    return found


def test_two_servers_of_one_root_never_give_the_same_output(tmp_path: Path) -> None:
    found = together(tmp_path)
    assert sorted(answer["output"] for answer in found.values()) == ["a.kept-2.png", "a.kept.png"]
    assert all((tmp_path / answer["output"]).read_text() == text for text, answer in found.items())


def test_of_two_servers_one_gets_a_requested_name_and_the_other_an_error(tmp_path: Path) -> None:
    found = together(tmp_path, name="c.png")
    (first,) = (text for text, answer in found.items() if not isinstance(answer, str))
    assert (tmp_path / "c.png").read_text() == first
    assert [answer for answer in found.values() if isinstance(answer, str)] == [
        "c.png already exists. Choose another name"
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"c.png", "ready-1", "ready-2"}


def _exchange(places: dict[str, Any], read: bool) -> Any:
    """A folder becomes a link out of the root during the call."""
    new = new_file(places["stage"], "output", Path("sub/new.png"))
    new.file.write_text("new")
    Path("sub").rename("moved")
    Path("sub").symlink_to(Path("../outside"))
    if read:
        return {"read": read_content("sub/a.png").decode()}, None
    return {"output": new}, None


@pytest.mark.parametrize("read", [True, False])
def test_a_folder_that_becomes_a_link_during_a_call_leads_nowhere(read: bool, tmp_path: Path) -> None:
    (tmp_path / "root/sub").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/a.png").write_bytes(b"\x89PNG secret")
    before = {*(tmp_path / "outside").iterdir()}
    answer, _ = in_process(_exchange, tmp_path / "root", read=read)
    assert isinstance(answer, str)
    assert "internal" not in answer
    assert {*(tmp_path / "outside").iterdir()} == before
    assert not [path for path in (tmp_path / "root").rglob("*") if path.name.endswith((".tmp", "new.png"))]


def test_a_call_ends_with_its_server(tmp_path: Path) -> None:
    server = FORK.Process(target=in_process, args=(_late, tmp_path))
    server.start()
    wait_until((tmp_path / "begun").exists)
    killed_alone(server, 1)
    assert not (tmp_path / "late").exists()
