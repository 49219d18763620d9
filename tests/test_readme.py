"""The Python of the README runs as it stands, in few steps of few layers; what needs a GPU is only compiled."""

import functools
import re
import shutil
from pathlib import Path
from typing import Any

import diffusers
import pytest
from PIL import Image

import latentedit as le
from latentedit.models.registry import load
from latentedit.testing.miniatures.flux2 import flux2_klein
from latentedit.testing.miniatures.qwen_image import qwen_image
from latentedit.testing.miniatures.sdxl import sdxl
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.render import render

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def few_steps(settings: Any) -> Any:
    """The same settings, with at most two steps wherever there are steps."""
    if not isinstance(settings, dict):
        return settings
    return {key: min(value, 2) if key == "steps" else few_steps(value) for key, value in settings.items()}


def test_the_python_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    def load_quick(*arguments: Any, **options: Any) -> Any:
        model: Any = load(*arguments, **options)
        del model._network.transformer_blocks[2:-1]
        model.defaults = few_steps(
            {**model.defaults, "editors": {"eim": {**model.defaults["editors"]["eim"], "steps": 2}}}
        )
        return model

    monkeypatch.setattr("latentedit.load", load_quick, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out" / "demo").mkdir(parents=True)
    portrait = next(item for item in draw_split("test", 50, 3) if item.accessory == "none")
    render(portrait).save("out/demo/source.png")
    portrait_of_others = Path("tests/data/foreign/dicebear-plain.png")
    portrait_of_others.parent.mkdir(parents=True)
    shutil.copy(ROOT / portrait_of_others, portrait_of_others)
    compiled = [compile(block.replace("rank=5", "rank=2"), "README.md", "exec") for block in BLOCKS]
    assert len(compiled) == 4
    scope: dict[str, object] = {}
    for block in compiled[:-1]:
        exec(block, scope)
    assert Path("out/demo/me-glasses.png").is_file()


def test_the_block_of_live_pipelines_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With miniatures in the place of what the hub has, on pictures of 64 px and in two steps."""
    made = {diffusers.Flux2KleinPipeline: flux2_klein, diffusers.QwenImagePipeline: qwen_image}
    for kind, build in {**made, diffusers.StableDiffusionXLPipeline: sdxl}.items():
        monkeypatch.setattr(kind, "from_pretrained", lambda *_, build=build, **__: build())
        monkeypatch.setattr(kind, "to", lambda self, _: self)
    small = {"sizes": [64, 64, 96], "editors": {"eim": {"steps": 2, "search": {"steps": 2}}, "flowedit": {"steps": 2}}}
    monkeypatch.setattr("latentedit.from_pipeline", functools.partial(le.from_pipeline, settings=small), raising=False)
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64), (90, 120, 90)).save("photo.jpg")
    exec(compile(BLOCKS[-1], "README.md", "exec"), {"le": le})
    for name in ("flux2", "qwen", "sdxl"):
        assert Image.open(f"{name}.png").size == (64, 64)
