"""``latentedit mcp``: tools called through the official SDK's client, and what they refuse."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image

from latentedit.editing.outputs import same_picture
from latentedit.editing.verbs import edit
from tests.editors.colours import ColourBackbone
from tests.editors.edits import grey
from tests.keep.pairs import scene, with_object
from tests.keep.test_checking import WHERE

mcp = pytest.importorskip("mcp")
from mcp.client.stdio import StdioServerParameters  # noqa: E402

from latentedit_keep import mcp_command  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    for name, pixels in (("a", scene()), ("b", with_object(scene())), ("mask", WHERE)):
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def asked(server: Any, *calls: tuple[str, dict[str, Any]]) -> Iterator[Any]:
    """The answers to consecutive calls: plain values, or the text of an error."""

    async def ask() -> list[Any]:
        async with mcp.Client(server) as client:
            return [await client.call_tool(name, arguments) for name, arguments in calls]

    for answer in anyio.run(ask):
        text = answer.content[0].text
        if answer.is_error:
            assert "\n" not in text
            yield text
        else:
            assert answer.structured_content == json.loads(text)
            yield answer


def test_an_edit_is_checked_kept_traced_and_undone(root: Path) -> None:
    pair = {"original": "a.png", "edited": "b.png", "mask": "mask.png"}
    checked, kept, again, history, undone = asked(
        mcp_command.make_server(root),
        ("check_edit", pair),
        ("keep_edit", {**pair, "output": "c.png", "strength": 0.5}),
        ("keep_edit", {"original": "c.png", "edited": "b.png", "output": "d.png"}),
        ("history", {"path": "d.png"}),
        ("undo_edit", {"path": "c.png"}),
    )
    assert (checked.structured_content["passed"], checked.content[1].mime_type) == (True, "image/jpeg")
    assert kept.structured_content["verdict"] == again.structured_content["verdict"] == "kept"
    first, second = history.structured_content["steps"]
    assert (first["file"], second["file"], second["strength"]) == ("d.png", "c.png", 0.5)
    assert {role: one["file"] for role, one in second["made_from"].items()} == pair
    assert undone.structured_content["output"] == "a.png"


def test_edits_by_the_library_are_traced_and_undone(colours: ColourBackbone, tmp_path: Path) -> None:
    grey().save(tmp_path / "grey.png")
    edit(colours, tmp_path / "grey.png", prompt="red", source_prompt="grey").save(tmp_path / "red.png")
    history, undone = asked(
        mcp_command.make_server(tmp_path), ("history", {"path": "red.png"}), ("undo_edit", {"path": "red.png"})
    )
    (step,) = history.structured_content["steps"]
    assert (step["tool"], step["made_from"]["source"]["file"]) == ("latentedit edit", "grey.png")
    assert same_picture(Image.open(tmp_path / undone.structured_content["output"]), grey())


def test_what_is_refused_in_one_line(root: Path) -> None:
    (root / "outside.png").symlink_to("/etc/passwd")
    (root / "folder").symlink_to(root)
    (root / "damaged.png").write_bytes((root / "a.png").read_bytes()[:99])
    (root / "huge.pgm").write_bytes(b"P5 20000 20000 255\n")
    cases = [
        ("../a.png", "outside the root"),
        ("/etc/passwd", "outside the root"),
        ("outside.png", "leads through a link"),
        ("folder/a.png", "leads through a link"),
        ("damaged.png", "damaged or cut short"),
        ("huge.pgm", "more than 100 megapixels"),
        ("none.png", "no such file"),
        ("a\0.png", "cannot be read"),
    ]
    calls = [("check_edit", {"original": "a.png", "edited": name}) for name, _ in cases]
    calls += [("keep_edit", {"original": "a.png", "edited": "b.png", "output": name}) for name in ("mask.png", "../x")]
    calls += [("history", {"path": "a.png"}), ("undo_edit", {"path": "b.png"})]
    expected = [*(why for _, why in cases), "exists", "outside the root", "no record", "no record"]
    for answer, why in zip(asked(mcp_command.make_server(root), *calls), expected, strict=True):
        assert why in answer


def test_a_call_ends_at_its_time_limit(root: Path) -> None:
    (answer,) = asked(mcp_command.make_server(root, seconds=0.01), ("history", {"path": "a.png"}))
    assert answer.startswith("the call took more than 0.01 s")


def test_as_a_process(root: Path) -> None:
    arguments = ["-m", "latentedit_keep.main", "mcp", "--root", str(root)]
    server = mcp.stdio_client(StdioServerParameters(command=sys.executable, args=arguments, env=dict(os.environ)))
    (answer,) = asked(server, ("check_edit", {"original": "a.png", "edited": "a.png"}))
    assert answer.structured_content["reasons"] == ["no edit"]
