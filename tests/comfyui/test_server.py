"""The pack in a real ComfyUI: ``make comfy``, or ``COMFYUI=folder make comfy`` for another version."""

import json
import os
import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latentedit import keep
from tests.keep.pairs import cast, moved, scene, similarity, with_object
from tools import comfy
from tools.comfy import EXAMPLES, GRAPHS, NodeError, Server, graph_of

SIDE = 160
BEFORE = scene()
EDITS = {
    "moved": moved(cast(with_object(BEFORE)), similarity((1.3, -0.8)), (SIDE, SIDE)),
    "border": moved(cast(with_object(BEFORE, center=(150, 70))), similarity((0.4, 0.3)), (SIDE, SIDE)),
    "exact": with_object(BEFORE),
    "smaller": np.asarray(Image.fromarray(cast(with_object(BEFORE))).resize((131, 117), Image.Resampling.BICUBIC)),
}
PROBES = '''
from comfy_api.latest import ComfyExtension, io, ui
class Half(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(node_id="Probe_Half", inputs=[io.Image.Input("image")], outputs=[io.Image.Output()])
    @classmethod
    def execute(cls, image):
        return io.NodeOutput(image.half())
class Compare(io.ComfyNode):
    """The type of an image, its largest difference from another, and that where the mask is below 1/255."""
    @classmethod
    def define_schema(cls):
        ins = [io.Image.Input("image"), io.Image.Input("other"), io.Mask.Input("change")]
        return io.Schema(node_id="Probe_Compare", inputs=ins, outputs=[], is_output_node=True)
    @classmethod
    def execute(cls, image, other, change):
        off = (image.float() - other[..., :3].float()).abs().amax(-1)
        values = off.max(), off[change < 1 / 255].max(), (off == 0).float().mean()
        text = " ".join([str(image.dtype), *(str(float(value)) for value in values)])
        return io.NodeOutput(ui=ui.PreviewText(text))
class Probes(ComfyExtension):
    async def get_node_list(self):
        return [Half, Compare]
async def comfy_entrypoint():
    return Probes()
'''
SAVE = {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "test"}}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = comfy.prepared(tmp_path_factory.mktemp("comfyui"))
    (folder / "custom_nodes/probes.py").write_text(PROBES)
    for name, pixels in (EDITS | {"before": BEFORE}).items():
        Image.fromarray(pixels).save(folder / f"input/{name}.png")
    with comfy.running(folder) as running:
        yield running


def pair(edited: str = "moved.png", original: str = "before.png", **inputs: Any) -> dict[str, Any]:
    """A graph that keeps an edit: node 1 loads the original, 2 the edit, 3 keeps."""
    files = {"1": original, "2": edited}
    loads = {name: {"class_type": "LoadImage", "inputs": {"image": file}} for name, file in files.items()}
    return loads | {"3": keeping(["2", 0], ["1", 0], **inputs)}


def keeping(edited: list[Any], original: list[Any], **inputs: Any) -> dict[str, Any]:
    given = {"edited": edited, "original": original, "amount": 1.0, "feather": 0} | inputs
    return {"class_type": "LatentEdit_Keep", "inputs": given}


def saved(server: Server, graph: dict[str, Any]) -> list[Any]:
    """The images that the server writes for node 3."""
    shown = server.run(graph | {"4": SAVE})["4"]["images"]
    return [np.asarray(server.image(one)) for one in shown]


def compared(server: Server, graph: dict[str, Any], other: list[Any]) -> tuple[str, float, float, float]:
    """Node 3's type, largest difference from another image, that outside the change, and share of equal pixels."""
    probe = {"class_type": "Probe_Compare", "inputs": {"image": ["3", 0], "other": other, "change": ["3", 1]}}
    name, *values = server.run(graph | {"9": probe})["9"]["text"][0].split()
    return name, *map(float, values)


def library(name: str, **options: Any) -> Any:
    return np.asarray(keep(Image.fromarray(BEFORE), Image.fromarray(EDITS[name]), **options).image)


def test_all_nodes_load_with_help_and_examples(server: Server) -> None:
    assert_all_nodes_load(server)
    assert server.call("/workflow_templates")["latentedit"]


def test_all_nodes_load_from_a_clone(tmp_path: Path) -> None:
    with comfy.running(comfy.prepared(tmp_path, clone=True)) as running:
        assert_all_nodes_load(running)
        (made,) = saved(running, pair("scene-edited-1.jpg", "scene.jpg"))
        assert made.shape == (512, 512, 3)


def assert_all_nodes_load(server: Server) -> None:
    info = server.call("/object_info")
    nodes = [name for name in info if name.startswith("LatentEdit_")]
    assert {"LatentEdit_Keep", "LatentEdit_Check", "LatentEdit_Match", "LatentEdit_EnforceMask"} <= set(nodes)
    for name in nodes:
        module = info[name]["python_module"].removeprefix("custom_nodes.")
        with urllib.request.urlopen(f"{server.url}/extensions/{module}/docs/{name}.md") as page:
            text = page.read().decode()
        assert text.startswith("# ")
        for image in re.findall(r"!\[.*\]\((.+)\)", text):
            with urllib.request.urlopen(f"{server.url}/extensions/{module}/docs/{image}") as file:
                assert file.read(2) == b"\xff\xd8"
    for name in ("Keep", "Check", "Match", "EnforceMask"):  # a bypassed node passes its first image
        assert next(iter(info[f"LatentEdit_{name}"]["input"]["required"])) == "edited"
    assert any(one.endswith("/text.js") for one in server.call("/extensions"))


@pytest.mark.parametrize("name", [name for name in GRAPHS if not name.endswith("by_text")])
def test_example_workflows_run(server: Server, name: str) -> None:
    stored = json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    graph = graph_of(stored, server.call("/object_info"))
    assert {key: node["inputs"] for key, node in graph.items()} == {
        key: node["inputs"] for key, node in GRAPHS[name][1].items()
    }
    shown = server.run(graph)
    assert any(one.get("images") for one in shown.values())


@pytest.mark.parametrize("name", EDITS)
def test_the_saved_image_is_the_librarys(server: Server, name: str) -> None:
    (made,) = saved(server, pair(f"{name}.png"))
    assert (made == library(name)).all()
    unchanged = (library(name) == BEFORE).all(axis=-1)
    assert 0.3 < unchanged.mean() < 1
    _, _, outside, equal = compared(server, pair(f"{name}.png"), ["1", 0])
    assert outside == 0
    assert equal >= unchanged.mean() - 1e-6


def test_amount_zero_is_the_original(server: Server) -> None:
    assert compared(server, pair(amount=0.0), ["1", 0])[1:] == (0, 0, 1)


def test_half_precision(server: Server) -> None:
    halves = {f"5{name}": {"class_type": "Probe_Half", "inputs": {"image": [name, 0]}} for name in "12"}
    kind, _, outside, equal = compared(server, pair() | {"3": keeping(["52", 0], ["51", 0])} | halves, ["51", 0])
    assert (kind, outside) == ("torch.float16", 0)
    assert equal >= (library("moved") == BEFORE).all(axis=-1).mean() - 1e-6


def test_batches(server: Server) -> None:
    more = {"6": {"class_type": "LoadImage", "inputs": {"image": "border.png"}}}
    more["7"] = {"class_type": "ImageBatch", "inputs": {"image1": ["2", 0], "image2": ["6", 0]}}
    more["8"] = {"class_type": "ImageBatch", "inputs": {"image1": ["7", 0], "image2": ["2", 0]}}
    made = saved(server, pair() | {"3": keeping(["8", 0], ["1", 0])} | more)
    assert [(one == library(name)).all() for one, name in zip(made, ("moved", "border", "moved"), strict=True)] == [
        True
    ] * 3
    with pytest.raises(NodeError, match="do not fit together"):
        server.run(pair() | {"3": keeping(["8", 0], ["7", 0])} | more | {"4": SAVE})


def test_masks(server: Server) -> None:
    """The mask that LoadImage gives without alpha is none; one of odd size, nearly white, counts as white."""
    (made,) = saved(server, pair(mask=["1", 1]))
    assert (made == library("moved")).all()
    mask = np.zeros((53, 37), np.uint8)
    mask[:, :18] = 250
    Image.fromarray(mask).save(server.folder / "input/odd.png")
    loading = {"6": {"class_type": "LoadImageMask", "inputs": {"image": "odd.png", "channel": "red"}}}
    graph = pair(mask=["6", 0]) | loading
    (made,) = saved(server, graph)
    assert (made[:, 82:] == BEFORE[:, 82:]).all()
    assert (made != BEFORE).any()
    graph["3"] = {"class_type": "LatentEdit_EnforceMask", "inputs": {**graph["3"]["inputs"]}}
    (made,) = saved(server, graph)
    assert (made[:, 84:] == BEFORE[:, 84:]).all()
    assert (made[:, :70] == EDITS["moved"][:, :70]).all()


def test_alpha(server: Server) -> None:
    """An edit that removes a background has an alpha channel in the graph, and so has the result."""
    clear = np.full((SIDE, SIDE, 4), 255, np.uint8)
    clear[..., :3] = BEFORE
    clear[30:90, 40:110, 3] = 0
    Image.fromarray(clear).save(server.folder / "input/clear.png")
    joined = {"6": {"class_type": "JoinImageWithAlpha", "inputs": {"image": ["2", 0], "alpha": ["2", 1]}}}
    graph = pair() | {"3": keeping(["6", 0], ["1", 0])} | joined
    graph["2"] = {"class_type": "LoadImage", "inputs": {"image": "clear.png"}}
    (made,) = saved(server, graph)
    assert made.shape == (SIDE, SIDE, 4)
    wanted = keep(Image.fromarray(BEFORE), Image.fromarray(clear)).kept.pixels
    assert (made == wanted).all()


def test_layers_compose_to_the_result_in_the_server(server: Server) -> None:
    """The document of *Keep only the change* in *Create Layered Image*, alone and with a layer of the user above it."""
    info = server.call("/object_info")
    if "ImageCompositor" not in info:
        pytest.skip("this version has no layers")
    assert info["LatentEdit_Keep"]["output"][3] == "LAYERS"
    graph = pair() | {"5": {"class_type": "ImageCompositor", "inputs": {"layers": ["3", 3], "compositor": ""}}}
    save = {"4": SAVE | {"inputs": SAVE["inputs"] | {"images": ["5", 0]}}}
    made = np.asarray(server.image(server.run(graph | save)["4"]["images"][0]).convert("RGB"))
    assert made.shape == BEFORE.shape
    assert np.abs(made - library("moved").astype(int)).max() <= 1  # ComfyUI composes in 8 bits of linear light
    more = {"image": ["2", 0], "layers": ["3", 3], "x": 100, "y": 0, "name": "mine"}
    graph["5"]["inputs"]["layers"] = ["6", 0]
    shown = server.run(graph | {"6": {"class_type": "AddLayer", "inputs": more}} | save)
    above = np.asarray(server.image(shown["4"]["images"][0]).convert("RGB"))
    assert above.shape == BEFORE.shape
    assert (above[:, :100] == made[:, :100]).all()
    assert np.abs(above[:, 100:] - EDITS["moved"][:, :60].astype(int)).max() <= 1
    assert len(shown["5"]["compositor_layers"]) == 3


def test_checks_branch(server: Server) -> None:
    check = {"edited": ["2", 0], "original": ["1", 0], "max_outside": 0.001, "expect_size": False}
    for limit, passed in ((1.0, "passed"), (0.01, "failed")):
        node = {"class_type": "LatentEdit_Check", "inputs": check | {"max_changed": limit}}
        show, verdict = ({"class_type": "PreviewAny", "inputs": {"source": ["3", output]}} for output in (0, 3))
        shown = server.run(pair() | {"3": node, "4": show, "5": verdict})
        assert shown["5"]["text"] == shown["3"]["text"]
        assert shown["3"]["text"][0].startswith(passed)
        assert shown["4"]["text"][0].lower() == str(passed == "passed").lower()


def test_a_cancel_ends_the_computation_within_two_seconds(server: Server) -> None:
    side = 2048
    large = scene(side)
    edit = moved(cast(with_object(large, (1200, 800), 200)), similarity((3.3, -2.1), 1.01, side=side), (side, side))
    for name, pixels in (("large", large), ("large-edit", edit)):
        Image.fromarray(pixels).save(server.folder / f"input/{name}.png")
    prompt = server.start(pair("large-edit.png", "large.png") | {"4": SAVE})
    begin = cpu_seconds(server)
    while cpu_seconds(server) < begin + 1.0:  # in the middle of a computation of about 3
        time.sleep(0.05)
    begin = cpu_seconds(server)
    server.call("/interrupt", {})
    with pytest.raises(NodeError, match="interrupted"):
        server.wait(prompt)
    assert cpu_seconds(server) - begin < 2  # time of the processor: other programs may be using it


def cpu_seconds(server: Server) -> float:
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
