"""Blocks of modular pipelines: edits by the pipeline's networks, `keep` after an editor, saving and loading."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.modular_pipelines import (
    Flux2AutoBlocks,
    Flux2KleinAutoBlocks,
    FluxAutoBlocks,
    ModularPipeline,
    ModularPipelineBlocks,
    StableDiffusionXLAutoBlocks,
)
from PIL import Image

import latentedit as le
from latentedit.blocks import Keep, SemanticEdit, appended, instead
from latentedit.core.errors import ConfigError
from tests.miniatures import flow, noise

SETTINGS = {"sizes": [64, 64, 96], "editors": {"flowedit": {"steps": 4}}}
CAPTIONS = {"source_prompt": "a face", "target_prompt": "a face with glasses"}
PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
HOSTS: dict[Any, Callable[[], Any]] = {
    FluxAutoBlocks: flow.flux,
    Flux2AutoBlocks: flow.flux2_dev,
    Flux2KleinAutoBlocks: lambda: flow.flux2_klein(distilled=True),
    StableDiffusionXLAutoBlocks: noise.sdxl,
}


def same(first: Any, second: Any) -> bool:
    return np.array_equal(np.asarray(first), np.asarray(second))


def filled(blocks: Any, make: Callable[[], Any]) -> Any:
    """A modular pipeline with the parts of a miniature."""
    pipeline = blocks.init_pipeline()
    parts = {name: part for name, part in make().components.items() if part is not None}
    pipeline.update_components(**{name: part for name, part in parts.items() if name in pipeline.component_names})
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.slow
@pytest.mark.parametrize(
    "host", [pytest.param(host, marks=pytest.mark.nightly if index else ()) for index, host in enumerate(HOSTS)]
)
def test_the_edit_equals_that_of_the_stock_pipeline(host: Any, tmp_path: Path) -> None:
    """Bit for bit; to a level after the pipeline and its blocks were saved and loaded."""
    pipeline = filled(instead(host, edit=SemanticEdit, keep=Keep)(), HOSTS[host])
    pipeline.update_components(edit_settings=SETTINGS)
    call: Any = {"image": PHOTO, **CAPTIONS, "edit_method": "flowedit", "edit_seed": 1}
    state = pipeline(**call)
    stock = le.from_pipeline(HOSTS[host](), settings=SETTINGS)
    prompts: Any = {"source_prompt": CAPTIONS["source_prompt"], "prompt": CAPTIONS["target_prompt"]}
    expected = le.edit(stock, PHOTO, **prompts, method="flowedit", seed=1)
    (result,) = state.edit_results
    assert same(result.image, expected.image)
    assert result.record.model.fingerprint == expected.record.model.fingerprint
    assert same(pipeline(**call | {"edit_strength": 0.0}).edit_results[0].image, PHOTO)
    kept, mask = np.asarray(state.images[0]), np.asarray(state.keep_masks[0])
    assert same(kept[mask == 0], np.asarray(PHOTO)[mask == 0])
    pipeline.save_pretrained(str(tmp_path), overwrite_modular_index=True)
    pipeline.blocks.save_pretrained(tmp_path)
    again: Any = ModularPipeline.from_pretrained(str(tmp_path), trust_remote_code=True)
    again.load_components()
    assert type(again) is type(pipeline)
    found = np.asarray(again(**call).edit_results[0].image, dtype=int)
    assert np.abs(found - np.asarray(result.image)).max() <= 1, (
        "another memory layout of the weights rounds differently"
    )


@pytest.mark.slow_except("FluxAutoBlocks")
@pytest.mark.parametrize("host", [FluxAutoBlocks, StableDiffusionXLAutoBlocks])
def test_keep_follows_the_blocks_of_an_editor(host: Any, tmp_path: Path) -> None:
    """`Keep` takes the source and the editor's output; saved and loaded blocks are the same."""
    kind, call = appended(host, keep=Keep), {"image": PHOTO, "prompt": "a face", "num_inference_steps": 4}
    call |= {"height": 64, "width": 64, "strength": 0.5}
    plain, kept = (filled(blocks, HOSTS[host]) for blocks in (host(), kind()))
    call = {name: value for name, value in call.items() if name in plain.blocks.input_names}
    edited = plain(**call, generator=torch.Generator().manual_seed(0)).images[0]
    state = kept(**call, generator=torch.Generator().manual_seed(0))
    expected = le.keep(PHOTO, edited)
    assert state.keep_reports == [expected.measures]
    assert same(state.images[0], expected.image)
    kind().save_pretrained(tmp_path / "new")
    loaded = ModularPipelineBlocks.from_pretrained(str(tmp_path / "new"), trust_remote_code=True)
    assert [type(block) for block in loaded.sub_blocks.values()] == [
        type(block) for block in kind().sub_blocks.values()
    ]


def test_a_generated_image_is_edited() -> None:
    pipeline = filled(appended(FluxAutoBlocks, edit=SemanticEdit)(), flow.flux)
    pipeline.update_components(edit_settings=SETTINGS)
    size: Any = {"height": 64, "width": 64, "num_inference_steps": 1, "generator": torch.Generator().manual_seed(0)}
    state = pipeline(prompt="a face", target_prompt=CAPTIONS["target_prompt"], edit_method="flowedit", **size)
    (result,) = state.edit_results
    assert (result.caption, result.source.size, result.record.seed) == ("a face", (64, 64), 0)
    assert not same(result.source, result.image)
    assert same(state.images[0], result.image)


@pytest.mark.slow
def test_several_edits_of_one_image_are_kept() -> None:
    edits = [PHOTO, Image.fromarray(255 - np.asarray(PHOTO))]
    state = filled(instead(FluxAutoBlocks, keep=Keep)(), flow.flux)(image=PHOTO, images=edits)
    assert state.keep_reports == [le.keep(PHOTO, edit).measures for edit in edits]


def test_images_that_do_not_fit_are_rejected() -> None:
    pipeline = filled(instead(FluxAutoBlocks, keep=Keep)(), flow.flux)
    with pytest.raises(ConfigError):
        pipeline(image=PHOTO)
    with pytest.raises(ConfigError):
        pipeline(image=[PHOTO] * 2, images=[PHOTO] * 3)
