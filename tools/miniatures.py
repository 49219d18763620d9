"""Random miniatures in place of models of the hub, for pages with ``<!-- with miniatures -->``, and a photo."""

import functools
from typing import Any

import diffusers
from diffusers.modular_pipelines import ModularPipeline, ModularPipelineBlocks
from PIL import Image

import latentedit as le
from latentedit.testing.miniatures.flow import flux, flux2_klein, qwen_image
from latentedit.testing.miniatures.noise import sdxl

BUILDERS: dict[Any, Any] = {
    diffusers.FluxPipeline: flux,
    diffusers.Flux2KleinPipeline: flux2_klein,
    diffusers.QwenImagePipeline: qwen_image,
    diffusers.StableDiffusionXLPipeline: sdxl,
}
EDITORS = {"eim": {"steps": 2, "search": {"steps": 2}}, "flowedit": {"steps": 2}}


def stand_in() -> None:
    """From now on, in this process, pipelines are miniatures that stay where they are, and edits take two steps."""
    Image.new("RGB", (64, 64), (90, 120, 90)).save("photo.jpg")
    for pipeline, build in BUILDERS.items():
        pipeline.from_pretrained = lambda *_, build=build, **__: build()
        pipeline.to = lambda self, *_, **__: self
    library: Any = le
    settings = {"sizes": [64, 64, 96], "editors": EDITORS}
    library.from_pipeline = functools.partial(le.from_pipeline, settings=settings)
    blocks_class: Any = ModularPipelineBlocks
    make = blocks_class.init_pipeline

    def modular(blocks: Any, *_: Any, **__: Any) -> Any:
        pipeline: Any = make(blocks)
        parts = {name: part for name, part in flux2_klein(distilled=True).components.items() if part is not None}
        more = {"edit_settings": settings} if "edit_settings" in pipeline.config else {}
        pipeline.update_components(**parts, **more)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    blocks_class.init_pipeline = modular
    ModularPipeline.load_components = lambda *_, **__: None
