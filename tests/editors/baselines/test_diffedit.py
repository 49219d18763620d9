import itertools

import pytest
import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.editors.baselines.diffedit import DiffEdit
from latentedit.editors.baselines.difference_mask import difference_mask
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of, mixture_latent


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6))


@pytest.fixture
def target(latent: JointLatent) -> Condition:
    return latent.backbone.embed(["c"])


def mask_of(latent: JointLatent, target: Condition, ratio: float) -> Tensor:
    return difference_mask(latent, target.expand(3), level=0.5, maps=4, ratio=ratio, seed=2)


def test_outside_the_mask_the_picture_stays_bit_for_bit(latent: JointLatent, target: Condition) -> None:
    mask = mask_of(latent, target, 2.0)
    found = DiffEdit(steps=8, maps=4, ratio=2.0).edit(latent, target, [1.0], seed=2)[0].z
    assert 0 < int(mask.sum()) < mask.numel()
    assert torch.equal(found[~mask], latent.z[~mask])
    assert float((found - latent.z)[mask].abs().min()) > 1e-4


@pytest.mark.parametrize(("under", "text"), [("empty", ""), ("source", "a")])
@pytest.mark.parametrize("strength", [0.6, -1.2])
def test_is_the_published_walk(latent: JointLatent, target: Condition, under: str, text: str, strength: float) -> None:
    """Up under a text, down under the target, blended at each level with what the way up passed there."""
    backbone, mask, levels = latent.backbone, mask_of(latent, target, 2.0), [0.0, 0.2, 0.4, 0.6, 0.7]
    states = [latent.z]
    for s, s_next in itertools.pairwise(levels):
        v = backbone.velocity(states[-1], levels_of(latent.z, s), backbone.embed([text]))
        states.append(states[-1] + (s_next - s) * v)
    source, empty, z = latent.condition, backbone.embed([""]), states[-1]
    words = source + strength * (target.expand(3) - source)
    for index in (3, 2, 1, 0):
        at = levels_of(z, levels[index + 1])
        null = backbone.velocity(z, at, empty)
        v = null + 1.7 * (backbone.velocity(z, at, words) - null)
        z = z + (levels[index] - levels[index + 1]) * v
        z = mask * z + ~mask * states[index]
    editor = DiffEdit.from_dict({"level": 0.7, "steps": 5, "guidance": 1.7, "under": under, "maps": 4, "ratio": 2.0})
    assert relative_error(editor.edit(latent, target, [strength], seed=2)[0].z, z) < 1e-12


def test_with_everything_inside_it_is_editing_by_inversion() -> None:
    """Between two Gaussians: up with the flow of one, down with that of the other, in closed form."""
    backbone = example_mixture(dimension=6, narrowest=0.3)
    latent = mixture_latent(backbone, condition=backbone.only(0))
    editor = DiffEdit(level=0.7, steps=100, guidance=1.0, under="source", maps=1, ratio=1e-9)
    found = editor.edit(latent, backbone.only(1), [1.0])[0].z
    expected = backbone.flow_map(backbone.flow_map(latent.z, 0.0, 0.7, 0), 0.7, 0.0, 1)
    assert relative_error(found, expected) < 5e-2  # Euler is of first order: some 2e-2 for 70 steps each way
    assert relative_error(found, latent.z) > 0.2
