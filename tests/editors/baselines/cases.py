"""Inputs of the tests of baselines: a variance-preserving model with closed forms, and an edit."""

import torch

from latentedit.editors.edit import Edit
from latentedit.encoding.joint import JointLatent
from latentedit.numerics.condition import Condition
from latentedit.numerics.schedule import scaled_linear_schedule
from tests.testing.gaussian_mixture import example_mixture
from tests.testing.vp_mixture import VariancePreservingMixture


def vp_model(
    *, dtype: torch.dtype = torch.float64, latent: tuple[int, ...] | None = (2, 3)
) -> VariancePreservingMixture:
    """The example mixture of six dimensions, whose levels end before 0 and before 1, and which predicts epsilon."""
    flow = example_mixture(dimension=6, dtype=dtype)
    return VariancePreservingMixture(flow, schedule=scaled_linear_schedule(), prediction="epsilon", latent=latent)


def edit_of(latent: JointLatent, target: Condition | None = None, *, seed: int = 0) -> Edit:
    """An edit at strength 1; towards "c" unless a target is given."""
    text = latent.backbone.embed(["c"]) if target is None else target
    target = text.expand(len(latent))
    return Edit(name="tests", latent=latent, target=target, strength=1.0, seed=seed)
