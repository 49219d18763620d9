"""Sizes of the networks of much used models: what they need is answered without their files, and without a network.

``known_models.json`` has them from the published configurations; ``registry.look_up`` gives those of another model of
the hub.
"""

import dataclasses
import functools
import importlib.resources
import json
from collections.abc import Mapping

import torch

from latentedit.core.flow import LevelGrid, shifted_grid
from latentedit.core.schedule import scaled_linear_schedule
from latentedit.models.base import Capabilities, GuidanceKind
from latentedit.models.placement import ModelNeeds, PartNeeds


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A published model: what it needs, and how it generates."""

    name: str  # hub id
    alike: tuple[str, ...]  # hub ids of models with networks of the same sizes
    needs: ModelNeeds  # its memory
    steps: int  # denoising steps of a generation, as its makers recommend
    guidance: float  # weight of the guidance in a generation
    guidance_kind: GuidanceKind  # how the weight acts
    shift: float  # of the levels at the preferred size; 0 for noise-predicting U-Nets
    instructed: bool  # it follows instructions, with the image as a reference
    source: str  # of the configurations

    @property
    def network(self) -> str:
        """The class of the denoiser."""
        return self.needs.parts[self.needs.denoiser].kind

    @property
    def capabilities(self) -> Capabilities:
        """What its backbone can do, as far as the cost of an edit depends on it."""
        side = self.needs.side_px
        return Capabilities(
            guidance=self.guidance,
            guidance_kind=self.guidance_kind,
            sizes=(side // 4, side, side),
            predicts_noise=not self.shift,
        )

    def grid(self, steps: int) -> LevelGrid:
        """The levels of its stock sampler, nearly."""
        return shifted_grid(steps, self.shift) if self.shift else scaled_linear_schedule().grid(steps)

    @property
    def generation(self) -> int:
        """Network evaluations of one image."""
        return self.steps * self.capabilities.branches(self.guidance)


@functools.cache
def known_models() -> Mapping[str, KnownModel]:
    """The shipped models by hub id, those with networks of the same sizes included."""
    file = importlib.resources.files("latentedit.models").joinpath("known_models.json")
    found: dict[str, KnownModel] = {}
    for name, about in json.loads(file.read_text(encoding="utf-8")).items():
        needs = dict(about.pop("needs"))
        parts = {part: PartNeeds(**sizes) for part, sizes in needs.pop("parts").items()}
        needs = ModelNeeds(parts=parts, half=getattr(torch, needs.pop("half")), **needs)
        model = KnownModel(name=name, needs=needs, alike=tuple(about.pop("alike")), **about)
        found |= dict.fromkeys((name, *model.alike), model)
    return found
