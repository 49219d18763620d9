"""Sana and Sana-Sprint against their stock pipelines."""

import functools
import itertools
import math
from typing import Any, ClassVar

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from latentedit.models.base import Backbone
from latentedit.models.guidance import GuidedField
from latentedit.numerics.flow import clean_estimate
from tests.miniatures.flow import sana
from tests.models.families.family import CAPTION, STEPS, FamilyContract, check_dropped_words


class _UnroundedTimes(DPMSolverMultistepScheduler):
    """Without the rounding of 1000 s to integers, which changes images of this random network by 5 %."""

    def set_timesteps(self, *arguments: Any, **settings: Any) -> None:
        super().set_timesteps(*arguments, **settings)
        self.timesteps = self.sigmas[:-1] * self.config["num_train_timesteps"]


class TestSana(FamilyContract):
    make = sana
    arguments: ClassVar[dict[str, Any]] = {"use_resolution_binning": False}
    guidance = (4.5, "cfg")
    invalid_changes = (
        (  # DPM-Solver for other models than flows has other levels
            "whose levels are not those of a flow",
            lambda pipeline: setattr(pipeline, "scheduler", DPMSolverMultistepScheduler()),
        ),
    )

    def stock_image(self, pipeline: Any, *arguments: Any, **settings: Any) -> Any:
        rounded = pipeline.scheduler
        pipeline.scheduler = _UnroundedTimes.from_config(rounded.config)
        try:
            return super().stock_image(pipeline, *arguments, **settings)
        finally:
            pipeline.scheduler = rounded

    @pytest.mark.slow
    def test_words_are_dropped_where_the_pipeline_truncates(self, backbone: Any) -> None:
        """The prompt has 298 tokens after the instruction; a space belongs to the word after it."""
        instruction = "\n".join(backbone._instruction())
        check_dropped_words(backbone, instruction, len(backbone._words(instruction).input_ids) + 298)
        # the empty text has no instruction; other texts keep the first and the last token of it
        assert backbone.embed(["", "xy"]).mask.sum(1).tolist() == [1, 4]


class TestSprint(FamilyContract):
    make = functools.partial(sana, sprint=True)
    arguments: ClassVar[dict[str, Any]] = {"use_resolution_binning": False, "intermediate_timesteps": None}
    guidance = (4.5, "embedded")

    def stock_arguments(self, weight: float) -> dict[str, Any]:
        return {**super().stock_arguments(weight), "generator": torch.Generator().manual_seed(5)}

    def our_sample(self, backbone: Backbone, weight: float, size: tuple[int, int], z: Tensor) -> Tensor:
        """The clean estimate at each level, and fresh noise for the next."""
        generator = torch.Generator().manual_seed(5)
        field = GuidedField(backbone=backbone, condition=backbone.embed([CAPTION]), guidance=weight)
        clean = z
        for level, following in itertools.pairwise(backbone.grid(STEPS, height_px=size[0], width_px=size[1]).levels):
            s = torch.tensor([level])
            clean = clean_estimate(z, s, field(z, s))
            z = (1 - following) * clean + following * torch.randn(z.shape, generator=generator)
        return clean

    def test_levels_are_even_in_angle(self, backbone: Backbone) -> None:
        """Except for two steps, where the second begins at 1.3."""
        angles = [math.atan2(level, 1 - level) for level in backbone.grid(4).levels]
        assert angles == pytest.approx([math.pi / 2 * part / 4 for part in (4, 3, 2, 1, 0)], abs=1e-6)
        assert math.atan2(backbone.grid(2).levels[1], 1 - backbone.grid(2).levels[1]) == pytest.approx(1.3, abs=1e-6)
