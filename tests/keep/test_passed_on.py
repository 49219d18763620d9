"""Every door of ``keep`` and ``check`` passes its arguments on: commands, tools of agents, nodes, wrapped pipelines.

What the arguments do is tested once, in Python.
"""

import contextlib
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
import torch
from PIL import Image

from latentedit.cli import program
from latentedit.core.errors import ConfigError
from latentedit.keeping import api, check_folder, checking
from latentedit.photo.images import PixelImage
from tests.comfyui import pack
from tests.keep.pairs import WHERE, scene, with_object

Given = dict[str, Any]
nodes = pack("images")
ORIGINAL, EDITED, LIMIT = (
    torch.from_numpy(one[None] / np.float32(255)) for one in (scene(), with_object(scene()), WHERE)
)
MASK = Path("m.png")
USUAL = Given(between=[], mask=None, box=None, strength=1.0, only=None, ai=False)
BOXES = "--box 1,2,3,4 --box 5,6,7,8"
TWO = ["1,2,3,4", "5,6,7,8"]
WHITE = (68, 48, 112, 92)  # bounds of the white part of the mask


def command(line: str) -> None:
    program.run(shlex.split(line))


def tool(name: str, **arguments: object) -> None:
    """Call a tool of the server, whose task runs in this process."""
    pytest.importorskip("mcp")
    from mcp import Client

    from latentedit.agents import server as mcp_command
    from latentedit.agents import worker as mcp_worker
    from latentedit.agents.tools import ToolCall

    async def in_this_process(_: object, tool: Any, arguments: Given, *__: Any) -> Any:
        with contextlib.suppress(ConfigError):
            tool.function(ToolCall(Path.cwd(), lambda *_: None), **arguments)
        return mcp_worker.Refusal("stopped")

    async def call() -> None:
        async with Client(mcp_command.make_server(Path())) as client:
            await client.call_tool(name, {"original": "a.png", "edited": "b.png"} | arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mcp_worker.Worker, "call", in_this_process)
        anyio.run(call)


def node_to_check(*mask: torch.Tensor, **limits: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nodes, "_keep", lambda *_: None)
        nodes.check_edit(EDITED, ORIGINAL, *mask, **limits)


PASSED: dict[str, tuple[Callable[[], object], Given]] = {
    "keep": (lambda: command("keep a.png b.png"), USUAL),
    "keep with a mask": (
        lambda: command("keep a.png b.png --mask m.png --strength 0.5 --only 1,3 --ai"),
        Given(mask=MASK, box=None, strength=0.5, only=(1, 3), ai=True),
    ),
    "keep with boxes": (lambda: command(f"keep a.png b.png {BOXES}"), USUAL | {"box": TWO}),
    "keep of edits in a row": (
        lambda: command("keep a.png b.png m.png --in-a-row --mask m.png --only 2"),
        Given(between=[Path("b.png")], mask=MASK, strength=1.0, only=(2,)),
    ),
    "keep of a list": (
        lambda: command("keep pairs.csv -o kept --strength 0.5 --ai"),
        Given(mask=MASK, strength=0.5, ai=True),
    ),
    "check": (
        lambda: command("check a.png b.png"),
        Given(mask=None, box=None, max_outside=None, expect_size=False),
    ),
    "check with a mask": (
        lambda: command("check a.png b.png --mask m.png --max-outside 1% --expect-size"),
        Given(mask=MASK, box=None, max_outside=0.01, expect_size=True),
    ),
    "check with boxes": (lambda: command(f"check a.png b.png {BOXES}"), Given(mask=None, box=TWO)),
    "check of a list": (
        lambda: command("check pairs.csv -o report --workers 1 --max-outside 1% --expect-size"),
        Given(mask=WHITE, max_outside=0.01, expect_size=True),
    ),
    "keep_edit": (lambda: tool("keep_edit"), USUAL),
    "keep_edit with a mask": (
        lambda: tool("keep_edit", mask="m.png", strength="0.5", only=[1, 3], ai=True),
        Given(mask=MASK, box=None, strength=0.5, only=[1, 3], ai=True),
    ),
    "keep_edit with a box": (lambda: tool("keep_edit", box=[1, 2, 3, 4]), USUAL | {"box": [1, 2, 3, 4]}),
    "keep_edit of edits in a row": (
        lambda: tool("keep_edit", edited="m.png", between=["b.png", "a.png"], only=[2]),
        USUAL | {"between": [Path("b.png"), Path("a.png")], "only": [2]},
    ),
    "check_edit with a mask": (
        lambda: tool("check_edit", mask="m.png", max_outside=0.01, expect_size=True),
        Given(mask=MASK, box=None, max_outside=0.01, expect_size=True),
    ),
    "check_edit with a box": (
        lambda: tool("check_edit", box=[1, 2, 3, 4]),
        Given(mask=None, box=[1, 2, 3, 4], max_outside=None, expect_size=False),
    ),
    "a node": (lambda: nodes.keep_change(EDITED, ORIGINAL, amount=0.5), Given(mask=None, strength=0.5)),
    "a node with a mask": (lambda: nodes.keep_change(EDITED, ORIGINAL, LIMIT), Given(mask=WHITE, strength=1.0)),
    "a node with a box": (lambda: nodes.keep_change(EDITED, ORIGINAL, box="68,48,44,44"), Given(mask=WHITE)),
    "a node for files": (
        lambda: nodes.keep_files(Path("b.png"), Path("a.png"), Path("k.png"), MASK, 0.5),
        Given(mask=MASK, strength=0.5),
    ),
    "a node that checks with a mask": (
        lambda: node_to_check(LIMIT, max_outside=0.01, max_changed=0.5),
        Given(mask=WHITE, max_outside=0.01, expect_size=False),
    ),
    "a node that checks without": (
        lambda: node_to_check(max_outside=0.01, max_changed=0.5, expect_size=True),
        Given(mask=None, max_outside=0.5, expect_size=True),
    ),
    "a wrapped pipeline": (
        lambda: api.wrap_pipeline(lambda **_: with_object(scene()), strength=0.5)(scene(), "a disc"),
        Given(strength=0.5, ai=True),
    ),
}


@pytest.fixture
def passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Given:
    """The arguments of the first `keep` or `check`, which stops there, in a folder with a pair and a mask."""
    monkeypatch.chdir(tmp_path)
    for name, pixels in (("a", scene()), ("b", with_object(scene())), ("m", WHERE)):
        Image.fromarray(pixels).save(f"{name}.png")
    Path("pairs.csv").write_text("original,edited,mask\na.png,b.png,m.png\n")
    given = Given()

    def stop(*_: Any, **options: Any) -> None:
        given.update(options)
        raise ConfigError("stopped")

    for owner, name in (
        (api, "keep"),
        (nodes, "keep"),
        (checking, "check"),
        (check_folder, "check"),
        (nodes, "check"),
    ):
        monkeypatch.setattr(owner, name, stop)
    return given


@pytest.mark.parametrize("door", PASSED)
def test_arguments_reach_the_function(door: str, passed: Given) -> None:
    call, expected = PASSED[door]
    with contextlib.suppress(ConfigError):
        call()
    if isinstance(mask := passed.get("mask"), PixelImage):
        passed["mask"] = mask.image.convert("L").getbbox()
    assert {name: passed[name] for name in expected} == expected
