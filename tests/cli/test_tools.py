"""Tools for agents that edit by text, called through the client of the official SDK."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image

from latentedit.agents import edit_tools
from latentedit.agents import server as mcp_command
from latentedit.agents.tools import LOADING, ToolCall
from latentedit.editing.outputs import same_image
from tests.editors.edits import noise

mcp = pytest.importorskip("mcp")


@pytest.fixture
def root(miniature: Path, tmp_path: Path) -> Path:
    """A folder with an image and a model."""
    folder = tmp_path / "root"
    shutil.copytree(miniature, folder / "model")
    noise((32, 24)).save(folder / "me.png")
    return folder


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
    files = {"model", "me.png", "me.edited.png", "me.edited.json", "s.html", "s.json", "me.edited.undone.png"}
    assert written == files


@pytest.mark.slow_except("more0-off or on")
@pytest.mark.parametrize(
    ("more", "note"),
    [({"change": "no glasses => glasses"}, "off or on"), ({"prompt": "a person with a beard"}, "clamped")],
)
def test_a_sweep_gives_agents_the_notes_and_the_evaluations_of_all_strengths(
    more: dict[str, Any], note: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # the tool sets it
    monkeypatch.setattr(edit_tools, "_last_model", edit_tools._LastModel())
    request = {"source_prompt": "a person with no glasses", "model": "model", "force": True, **more}
    call = ToolCall(root, lambda *_: None)
    values = edit_tools.sweep_image(call, "me.png", strengths=[0, 0.5, 9], **request).values
    results = json.loads(Path(values["output"]).with_suffix(".json").read_text())["results"]
    assert values["evaluations"] == pytest.approx(sum(result["cost"]["evaluations"] for result in results))
    assert {note for result in results for note in result["notes"]} < {*values["notes"]}, "and those of captions"
    assert " ".join(values["notes"]).count(note) == 1


def test_the_last_model_stays_in_memory_while_its_files_are_the_same(
    root: Path,
) -> None:
    last_model = edit_tools._LastModel()
    shutil.copytree(root / "model", root / "other")
    steps = list[Any]()

    def model(name: str) -> Any:
        steps.clear()
        return last_model.load(ToolCall(root, lambda *step: steps.append(step)), name)

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
    assert model("model") is not changed


@pytest.mark.parametrize("tool", ["edit_image", "sweep_image"])
def test_loading_begins_before_anything_heavy_is_imported(tool: str, root: Path) -> None:
    lines = (
        "import sys",
        "from pathlib import Path",
        "from latentedit.agents import edit_tools",
        "from latentedit.agents.tools import ToolCall",
        "def step(*begun): print(*begun, 'torch' in sys.modules); sys.exit()",
        f"edit_tools.{tool}(ToolCall(Path({str(root)!r}), step), 'me.png')",
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


@pytest.mark.parametrize("has_models", [True, False])
def test_tools_that_edit_are_offered_only_with_models(has_models: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_command, "has_models", lambda: has_models)
    names = {tool.name for tool in mcp_command.offered_tools()}
    assert names - {"check_edit", "keep_edit", "undo_edit", "history"} == (
        {"edit_image", "sweep_image"} if has_models else set()
    )


def test_a_server_starts_without_importing_models() -> None:
    lines = (
        "import sys",
        "from pathlib import Path",
        "from latentedit.agents.server import make_server",
        "make_server(Path())",
        "print('torch' in sys.modules)",
    )
    ran = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
