"""Tools for agents that edit by text, called through the client of the official SDK."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image

from latentedit.agents import server as mcp_command
from latentedit.agents.tools import LOADING
from latentedit.cli import tools
from latentedit.core.plugins import Registry
from latentedit.editing.outputs import same_image
from tests.editors.edits import noise
from tests.installed import installed

mcp = pytest.importorskip("mcp")
OURS = {"check_edit", "keep_edit", "undo_edit", "history"}


@pytest.fixture
def root(miniature: Path, tmp_path: Path) -> Iterator[Path]:
    """A folder with an image and a model, and the tools as the library's entry points name them."""
    folder = tmp_path / "root"
    shutil.copytree(miniature, folder / "model")
    noise((32, 24)).save(folder / "me.png")
    named = {f"{name}_image": f"latentedit.cli.tools:{name.upper()}_IMAGE" for name in ("edit", "sweep")}
    (tmp_path / "package").mkdir()
    with installed(tmp_path / "package", {"latentedit.tools": named}):
        yield folder


def called(root: Path, *calls: tuple[str, dict[str, Any]], steps: list[Any] | None = None) -> list[Any]:
    async def step(*done: Any) -> None:
        if steps is not None:
            steps.append(done)

    async def answers() -> list[Any]:
        async with mcp.Client(mcp_command.make_server(root)) as client:
            return [await client.call_tool(*one, progress_callback=step) for one in calls]

    return anyio.run(answers)


@pytest.mark.slow
def test_agents_edit_and_sweep_by_text_with_a_model_in_the_root(root: Path) -> None:
    steps, words = list[Any](), {"prompt": "a person with a beard", "source_prompt": "a person", "model": "model"}
    request = {"image": "me.png", **words, "method": "flowedit", "force": True}
    edited, again, swept, undone = called(
        root,
        ("edit_image", request),
        ("edit_image", {**request, "output": "me.png"}),
        ("sweep_image", {**request, "strengths": [0, 1], "output": "s.html", "verdict": False}),
        ("undo_edit", {"path": "me.edited.png"}),
        steps=steps,
    )
    assert (edited.structured_content["output"], edited.structured_content["method"]) == ("me.edited.png", "flowedit")
    assert edited.content[1].mime_type == swept.content[1].mime_type == "image/jpeg"
    assert again.is_error
    assert "already exists" in again.content[0].text
    assert edited.structured_content["verdict"] != "not judged"
    assert swept.structured_content["strengths"] == [{"strength": one, "verdict": "not judged"} for one in (0, 1)]
    assert "<latentedit-viewer" in (root / "s.html").read_text("utf-8")
    assert same_image(Image.open(root / undone.structured_content["output"]), Image.open(root / "me.png"))
    assert steps[:2] == [(0, 1, LOADING), (1, 1, LOADING)]
    assert LOADING not in {what for *_, what in steps[2:]}, "all calls after the first find the model in memory"
    written = {path.name for path in root.iterdir()}
    assert written == {"model", "me.png", "me.edited.png", "s.html", "me.edited.undone.png"}


@pytest.mark.slow_except("more0-off or on")
@pytest.mark.parametrize(
    ("more", "note"),
    [({"change": "no glasses => glasses"}, "off or on"), ({"prompt": "a person with a beard"}, "clamped")],
)
def test_a_sweep_gives_agents_the_notes_and_the_evaluations_of_all_strengths(
    more: dict[str, Any], note: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # the tool sets it
    monkeypatch.setattr(tools, "_last", {})
    places = {"image": Path("me.png"), "mask": None, "output": None, "stage": tmp_path}
    request = {"source_prompt": "a person with no glasses", "model": "model", "force": True, **more}
    facts, _ = tools.SWEEP_IMAGE.task(places, step=lambda *_: None, strengths=[0, 0.5, 9], **request)
    each = json.loads(facts["output"].file.with_suffix(".json").read_text())["results"]
    assert facts["evaluations"] == pytest.approx(sum(one["cost"]["evaluations"] for one in each))
    assert {note for one in each for note in one["notes"]} < {*facts["notes"]}, "and those of captions"
    assert " ".join(facts["notes"]).count(note) == 1


def test_the_last_model_stays_in_memory_while_its_files_are_the_same(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    monkeypatch.setattr(tools, "_last", {})
    shutil.copytree(root / "model", root / "other")
    steps = list[Any]()

    def model(name: str) -> Any:
        steps.clear()
        return tools._model(name, lambda *step: steps.append(step))

    first = model("model")
    fingerprint = first.fingerprint
    assert steps == [(LOADING, 1, 1)]
    assert model("model") is first
    assert not steps
    (weights,) = (root / "model" / "transformer").glob("*.safetensors")
    before, content = weights.stat(), bytearray(weights.read_bytes())
    half = len(content) // 2
    content[half:] = bytes(len(content) - half)
    weights.write_bytes(content)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    changed = model("model")
    assert steps == [(LOADING, 0, 1), (LOADING, 1, 1)]
    assert changed.fingerprint != fingerprint
    assert model("other").fingerprint == fingerprint
    assert len(tools._last) == 1
    assert model("model") is not changed
    monkeypatch.setattr(tools, "_MOST_KEPT", 0)
    monkeypatch.setattr(tools, "_last", {})
    assert model("model") is not model("model")


@pytest.mark.parametrize(("tool", "more"), [("EDIT", {}), ("SWEEP", {"strengths": [1.0]})])
def test_loading_begins_before_anything_heavy_is_imported(tool: str, more: dict[str, Any], tmp_path: Path) -> None:
    given = {"places": {"image": None, "mask": None, "output": None, "stage": None}, "model": "m", **more}
    lines = (
        "import sys",
        "from latentedit.cli import tools",
        "def step(*begun): print(*begun, 'torch' in sys.modules); sys.exit()",
        f"tools.{tool}_IMAGE.task(step=step, **{given})",
    )
    ran = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert ran.stdout == f"{LOADING} 0 1 False\n"


@pytest.mark.slow
def test_an_edit_that_cannot_be_made_is_refused_in_one_line(root: Path) -> None:
    answers = called(
        root,
        ("edit_image", {"image": "me.png", "change": "=> glasses", "model": "../model"}),
        ("edit_image", {"image": "me.png", "change": "=> glasses", "model": "someone/hub"}),
        ("edit_image", {"image": "me.png", "model": "model"}),
    )
    for answer, word in zip(answers, ("outside the root", "portraits", "`change`"), strict=True):
        assert answer.is_error
        assert word in answer.content[0].text
        assert "\n" not in answer.content[0].text
    assert {path.name for path in root.iterdir()} == {"model", "me.png"}


def test_without_the_library_the_server_has_the_tools_of_keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def listed() -> set[str]:
        async with mcp.Client(mcp_command.make_server(tmp_path)) as client:
            return {tool.name for tool in (await client.list_tools()).tools}

    monkeypatch.setattr(mcp_command, "TOOLS", Registry(group="no such group", kind="tool"))
    assert anyio.run(listed) == OURS
