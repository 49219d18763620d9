import itertools

import pytest
import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.editors.baselines.asymmetric import AsymmetricEdit
from latentedit.latents.inversion import invert
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import LinearTextBackbone, levels_of, mixture_latent, times
from tests.directions.networks import NetworkBackbone, network_latent


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6))


@pytest.mark.parametrize("until", [0.0, 0.45])
@pytest.mark.parametrize("strength", [-0.7, 1.6])
def test_the_clean_estimates_of_two_texts_make_the_data_part(until: float, strength: float) -> None:
    """``(1 - s') x~ + s' e_hat`` of a step, taken where the inversion passed; estimates in closed form."""
    backbone = example_mixture(dimension=6)
    latent, target = mixture_latent(backbone), backbone.embed(["c"])
    trace = invert(latent, latent.path(5, 0.75))
    z = trace.top
    for index in (3, 2, 1, 0):
        s, s_next = trace.levels[index + 1], trace.levels[index]
        at = levels_of(z, s_next)
        source, wanted = (
            backbone.at(z + trace.states[index] - trace.states[index + 1], at, text)
            for text in (latent.condition, target)
        )
        share = 0.5 * strength if s > until else 0.0
        there = source.velocity + share * (wanted.velocity - source.velocity)
        z = (1 - s_next) * (z - s * there) + s_next * (z + (1 - s) * source.velocity)
    editor = AsymmetricEdit(level=0.75, steps=5, scale=0.5, until=until)
    assert relative_error(editor.edit(latent, target, [strength])[0].z, z) < 1e-11


def test_the_features_are_taken_where_the_walk_is() -> None:
    """Two steps by hand: the second shift is that of the moved latent."""
    latent = network_latent(NetworkBackbone())
    backbone, target = latent.backbone, latent.backbone.embed(["zebra", "quagga"])
    trace, moved = invert(latent, latent.path(2)), torch.zeros_like(latent.z)
    for index, (s, s_next) in ((1, (1.0, 0.5)), (0, (0.5, 0.0))):
        z, at = trace.states[index] + moved, levels_of(latent.z, s_next)
        there, here = (backbone.features(z, at, text, "mid") for text in (target, latent.condition))
        v = backbone.velocity(z, at, latent.condition)
        shifted = backbone.velocity_with(z, at, latent.condition, "mid", 1.4 * (there - here))
        moved = moved + (s_next - s) * (v - trace.velocities[index]) - (1 - s_next) * s * (shifted - v)
    found = AsymmetricEdit(level=1.0, steps=2, scale=0.7, until=0.0).edit(latent, target, [2.0])[0].z
    assert relative_error(found, latent.z + moved) < 1e-12


def test_where_the_estimate_is_affine_in_the_text_so_is_the_edit() -> None:
    """One Gaussian whose mean is linear in the text: the displacement solves a recursion that is linear in the means.

    With ``v = J z + ...`` of the same J under every text, ``u' = u + (s' - s) J u + strength scale (1 - s') s K`` where
    K is the change of x_hat over s.
    """
    backbone = LinearTextBackbone(example_mixture(dimension=6).mixture)
    latent, target = mixture_latent(backbone, condition=backbone.embed(["a"])), backbone.embed(["c"])
    covariance, eye = backbone.mixture.covariances[:1], torch.eye(6, dtype=torch.float64)
    means = (backbone.mean(target) - backbone.mean(latent.condition[:1])).expand(3, -1)
    moved, levels = torch.zeros_like(latent.z), [1.0, 0.75, 0.5, 0.25, 0.0]

    def slope(s: float) -> Tensor:
        total = (1 - s) ** 2 * covariance + s**2 * eye
        return ((s * eye - (1 - s) * covariance) @ torch.linalg.inv(total)).expand(3, -1, -1)

    for s, s_next in itertools.pairwise(levels):
        kick = -(1 - s_next) * times(slope(s_next), means) - means
        moved = moved + (s_next - s) * times(slope(s_next), moved) - 0.8 * 0.3 * (1 - s_next) * s * kick
    editor = AsymmetricEdit(level=1.0, steps=4, scale=0.3, until=0.0)
    assert relative_error(editor.edit(latent, target, [0.8])[0].z - latent.z, moved) < 1e-10


def equal_texts() -> list[JointLatent]:
    return [mixture_latent(example_mixture(dimension=6)), network_latent(NetworkBackbone())]


def test_a_site_that_cannot_be_shifted_is_refused(latent: JointLatent) -> None:
    target: Condition = latent.backbone.embed(["c"])
    with pytest.raises(ConfigError, match="expected a site"):
        AsymmetricEdit(site="velocity").edit(latent, target, [1.0])
