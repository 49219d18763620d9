"""A known basis of the color model, and a reader with probabilities."""

import importlib.metadata
from typing import ClassVar, final

import pytest
import torch
from torch import Tensor

from latentedit.core.plugins import CAPTIONERS
from latentedit.encoding.captions.base import AttributeReader
from latentedit.encoding.encode import encode
from latentedit.encoding.inversion import invert
from latentedit.geometry.pullback import LocalBasis
from latentedit.models.base import Backbone
from tests.editors.colors import ColorBackbone
from tests.editors.edits import gray

LEVEL, STEPS = 0.5, 10


@final
class SureReader(AttributeReader):
    """Brightness of the upper and of the lower half: the probability of light is the mean red, from 0 to 1."""

    values: ClassVar = {"top": ("dark", "light"), "bottom": ("dark", "light")}

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone

    def probabilities(self, pixels: Tensor) -> dict[str, Tensor]:
        halves = zip(self.values, pixels[:, 0].chunk(2, dim=1), strict=True)
        light = {name: (half.mean((1, 2)) + 1) / 2 for name, half in halves}
        return {name: torch.stack([1 - p, p], dim=1) for name, p in light.items()}

    def read(self, pixels: Tensor) -> list[dict[str, str]]:
        best = {name: p.argmax(1).tolist() for name, p in self.probabilities(pixels).items()}
        return [{name: self.values[name][row[i]] for name, row in best.items()} for i in range(len(pixels))]

    def caption(self, pixels: Tensor) -> list[str]:
        return ["gray"] * len(pixels)


def widen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the color model expect images of variance 1, like latents, so that large changes are undamaged."""
    monkeypatch.setattr("tests.editors.colors.VARIANCE", 1.0)


def read_surely(monkeypatch: pytest.MonkeyPatch, model: ColorBackbone) -> None:
    """Let the model have variance 1 and a `SureReader` that is found through an entry point."""
    widen(monkeypatch)
    point = importlib.metadata.EntryPoint(
        name="sure", value="tests.editing.discoveries:SureReader", group=CAPTIONERS.group
    )
    real = type(CAPTIONERS).points
    monkeypatch.setattr(
        type(CAPTIONERS), "points", lambda registry: {"sure": point} if registry is CAPTIONERS else real(registry)
    )
    model.defaults = {"captioner": "sure"}


def halves() -> Tensor:
    """Two orthonormal directions: more red in the upper half, more red in the lower half."""
    v = torch.zeros(2, 3, 8, 8)
    v[0, 0, :4], v[1, 0, 4:] = 1, 1
    return v / v.flatten(1).norm(dim=1)[:, None, None, None]


def known_basis(model: ColorBackbone, v: Tensor | None = None) -> LocalBasis:
    """At a gray image of 8 x 8 pixels, without a caption."""
    v = halves() if v is None else v
    latent = encode(model, gray(), source_prompt="gray").with_prompt("")
    trace = invert(latent, latent.path(STEPS, LEVEL))
    return LocalBasis(
        latent=latent,
        trace=trace,
        site="clean",
        level=trace.levels[-1],
        prompt="",
        condition=latent.condition,
        steps=STEPS,
        seed=3,
        u=v,
        singular_values=torch.tensor([2.0, 1.0]),
        v=v,
        residuals=torch.zeros(2),
        iterations=1,
        products=4,
        converged=True,
        evaluations=len(trace.velocities) + 8,
    )


def gain(basis: LocalBasis) -> float:
    """The factor by which the aligned path of the linear color model scales a displacement."""
    model, s = basis.latent.backbone, torch.tensor(basis.trace.levels[:-1])
    unit, zero = torch.ones(len(s), 3, 8, 8), torch.zeros(len(s), 3, 8, 8)
    text = basis.latent.condition
    slopes = (model.velocity(unit, s, text) - model.velocity(zero, s, text))[:, 0, 0, 0].double()
    steps = torch.tensor(basis.trace.levels).double().diff()
    return float((1 - steps * slopes).prod())
