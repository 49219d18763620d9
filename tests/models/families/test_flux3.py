"""FLUX.3 and its distilled flow map against their stock pipelines, which are modular."""

import dataclasses
import functools
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import latentedit as le
from latentedit.editors import AlignedInversion, FlowEdit, Inversion, RFSolver, SDEdit, VeloEdit
from latentedit.editors.base import Editor
from latentedit.editors.eim import EIM
from latentedit.models.codec import patchify, unpatchify
from latentedit.numerics.rng import draw
from tests.miniatures.flow import flux3
from tests.models.families.family import (
    CAPTION,
    NO_CHAT,
    PARITY,
    SETTINGS,
    Distilled,
    Modular,
    Variants,
    noise_image,
    other_width,
    sample_modular,
    sample_with_references,
)
from tests.testing.tolerances import relative_error


class TestFlux3(Modular, Variants):
    make = flux3
    guidance = (3.5, "cfg")
    longest_caption = 800 - 6  # tokens at the beginning of the chat
    invalid_changes = (NO_CHAT, (r"24.*32", other_width("joint_attention_dim")[1]))

    def stock_latents(self, z: Tensor) -> Tensor:
        return patchify(z)

    def canonical_latents(self, output: Tensor, like: Tensor) -> Tensor:
        del like
        return unpatchify(output)


class TestFlux3Klein(Distilled, TestFlux3):
    make = functools.partial(flux3, distilled=True)


@pytest.mark.slow_except("True")
@pytest.mark.parametrize("distilled", [False, True])
def test_sampling_with_references_equals_the_stock_pipeline(distilled: bool) -> None:
    """Two reference images of different sizes, as separate inputs."""
    pipeline = flux3(distilled=distilled)
    backbone = le.from_pipeline(pipeline, settings=SETTINGS)
    images, size, weight = [noise_image(64, 96), noise_image(80, 64)], (64, 96), 1.0 if distilled else 3.0
    pixels = [torch.tensor(np.asarray(image)).permute(2, 0, 1)[None] / 127.5 - 1 for image in images]
    reference = tuple(map(backbone.encode, pixels))
    condition = dataclasses.replace(backbone.embed([CAPTION]), reference=reference)
    z = draw((1, *backbone.latent_shape(*size)), seed=4, purpose="start")
    if not distilled:
        pipeline.guider.guidance_scale = weight
    stock = sample_modular(pipeline, size, patchify(z), image=images)
    assert relative_error(sample_with_references(backbone, condition, z, weight, size), unpatchify(stock)) <= PARITY
    site = backbone.features(z, torch.tensor([0.5]), condition, "single.0.image")
    assert site.shape[1] == sum(latents.shape[-2] * latents.shape[-1] // 4 for latents in (z, *reference))


@pytest.mark.slow
def test_paths_step_by_the_flow_map() -> None:
    """Steps pass their level of arrival, other evaluations do not; the record states which was used."""
    pipeline = flux3(distilled=True)
    backbone: Any = le.from_pipeline(pipeline, settings=SETTINGS)
    arrivals: list[tuple[float, float]] = []

    def seen(_module: Any, _arguments: Any, given: dict[str, Any]) -> None:
        arrivals.append((round(float(given["timestep"][0]), 3), round(float(given["target_timestep"][0]), 3)))

    pipeline.transformer.register_forward_pre_hook(seen, with_kwargs=True)
    image, grid = noise_image(64, 64), backbone.grid(3, height_px=64, width_px=64)
    falling = [(round(s, 3), round(s_next, 3)) for s, s_next in itertools.pairwise(grid.levels)]
    methods: dict[Editor, list[tuple[float, float]]] = {
        VeloEdit(steps=3): falling,
        SDEdit(level=1.0, steps=3, guidance=1.0): falling,
        FlowEdit(level=1.0, steps=3, target_guidance=1.0): [step for step in falling for _ in range(2)],
        Inversion(steps=3): [step[::-1] for step in falling[::-1]] + falling,
        AlignedInversion(steps=3): [step[::-1] for step in falling[::-1] + falling],
        EIM(arm="text", level=1.0, steps=3): [step[::-1] for step in falling[::-1] + falling],
        RFSolver(steps=3): [],
    }
    for method, steps in methods.items():
        arrivals.clear()
        result = le.edit(backbone, image, source_prompt="a face", prompt="a beard", method=method, force=True)
        assert arrivals[: len(steps)] == steps, method.name
        assert all((s == arrival) != bool(steps) for s, arrival in arrivals[: len(steps) or None]), method.name
        assert result.record.stepped == ("flow map" if steps else "velocity"), method.name
