"""Edit guider, Edit sampler and Strength sweep in a real server; what they compute is tested in test_guider.py."""

import json
from collections.abc import Generator

import numpy as np
import pytest
from PIL import Image

from tools.comfy import EXAMPLES, GRAPHS, SOURCES, Server, graph_of, prepared, running, with_portraits


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    with running(prepared(tmp_path_factory.mktemp("comfyui")), paths=SOURCES) as started:
        yield started


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
