"""Edit guider, Edit sampler and Strength sweep in a real server, around a random FLUX."""

import json
import shutil
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tools.comfy import EXAMPLES, GRAPHS, SOURCES, NodeError, Server, graph_of, prepared, running, with_portraits


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    folder = prepared(tmp_path_factory.mktemp("comfyui"))
    shutil.copy(Path(__file__).with_name("tiny_nodes.py"), folder / "custom_nodes")
    with running(folder, paths=SOURCES) as started:
        yield started


def graph(steps: int = 6, batch: int = 1, sweep: dict[str, Any] | None = None, **sampler: Any) -> dict[str, Any]:
    """The pair of nodes as SamplerCustomAdvanced uses it."""
    nodes: dict[str, Any] = {
        "flux": ("Test_TinyFlux", {"batch": batch}),
        "guider": (
            "LatentEdit_Guider",
            {"model": ["flux", 0], "source": ["flux", 1], "target": ["flux", 2]}
            | {"source_guidance": 1.5, "target_guidance": 5.5},
        ),
        "edit": (
            "LatentEdit_Sampler",
            {"method": "flowedit", "strength": 1.0, "auto_mask": "default", "refine": "default"} | sampler,
        ),
        "noise": ("RandomNoise", {"noise_seed": 1}),
        "levels": (
            "BasicScheduler",
            {"model": ["flux", 0], "scheduler": "simple", "steps": steps, "denoise": 1.0},
        ),
        "sample": (
            "SamplerCustomAdvanced",
            {"noise": ["noise", 0], "guider": ["guider", 0], "sampler": ["edit", 0], "sigmas": ["levels", 0]}
            | {"latent_image": ["flux", 3]},
        ),
        "shown": ("Test_Difference", {"before": ["flux", 3], "after": ["sample", 0]}),
    }
    if sweep is not None:
        nodes["sweep"] = ("LatentEdit_Sweep", sweep)
        nodes["edit"][1]["strengths"] = ["sweep", 1]
    return {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}


def changes(server: Server, **settings: Any) -> list[float]:
    """The largest change of each latent of the result."""
    (text,) = server.run(graph(**settings))["shown"]["text"]
    return [float(value) for value in text.split()]


def test_every_method_edits_and_strength_0_changes_nothing(server: Server) -> None:
    for method in ("flowedit", "eim", "dvrf", "flowslider", "flowalign"):
        assert changes(server, method=method, strength=0.0) == [0.0]
        assert changes(server, method=method)[0] > 0.01
        assert changes(server, method=method, strength=-1.0)[0] > 0.01


@pytest.mark.parametrize("name", [name for name in GRAPHS if name.endswith("by_text")])
def test_example_workflows_run(server: Server, name: str) -> None:
    stored = json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    shown = server.run(with_portraits(graph_of(stored, server.call("/object_info"))))
    before = np.asarray(Image.open(EXAMPLES / "input/portrait.png").convert("RGB")).astype(float)
    made = [np.asarray(server.image(one)).astype(float) for one in shown["15"]["images"]]
    away = [abs(one - before).mean() for one in made]  # levels: glasses; the codec alone costs 2
    assert away[-1] > 4
    if name == "sweep_by_text":
        assert away == sorted(away)
    else:
        (kept,) = (np.asarray(server.image(one)) for one in shown["16"]["images"])
        assert 0.3 < (kept == before).all(-1).mean() < 1


def test_a_sweep_is_one_batch(server: Server) -> None:
    found = changes(server, sweep={"first": 0.0, "last": 1.0, "count": 3}, method="eim")
    assert found[0] == 0.0
    assert 0.01 < found[1] < found[2]
    assert found[2] == pytest.approx(changes(server, method="eim")[0], rel=1e-4)


@pytest.mark.parametrize("batch", [1, 3])
def test_batches(server: Server, batch: int) -> None:
    assert len(changes(server, batch=batch)) == batch


def test_a_cancel_ends_an_edit_within_2_s(server: Server) -> None:
    prompt = server.start(graph(steps=3000))
    time.sleep(4)
    began = time.monotonic()
    server.call("/interrupt", {})
    with pytest.raises(NodeError, match="execution_interrupted"):
        server.wait(prompt)
    assert time.monotonic() - began < 2
    assert changes(server, steps=2)[0] > 0, "the server goes on"
