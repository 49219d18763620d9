"""ChordEdit against the published average, and where its displacement is known in closed form."""

import pytest
import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.rng import draw
from latentedit.editors.baselines.chordedit import ChordEdit, clean_difference
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import clean_at, levels_of, mixture_latent
from tests.editors.baselines.vp_models import vp_model


def published(
    backbone: GaussianMixtureBackbone, y: Tensor, levels: list[float], noises: Tensor, scale: float
) -> Tensor:
    """The loop with clean estimates in closed form, noise by noise; the state is noised anew in every step."""
    for s in levels:
        change = torch.zeros_like(y)
        for e in noises:
            at, below = (
                clean_at(backbone, (1 - t) * y + t * e, t, backbone.embed(["c"]))
                - clean_at(backbone, (1 - t) * y + t * e, t, backbone.embed(["a"]))
                for t in (s, s - 0.15)
            )
            change += (0.15 * at + s * below) / (s + 0.15) / len(noises)
        y = y + scale * change
    return y


@pytest.mark.parametrize("strength", [1.0, -0.6])
@pytest.mark.parametrize(("steps", "levels"), [(1, [0.9]), (3, [0.9, 0.6, 0.3])])
def test_is_the_published_loop(steps: int, levels: list[float], strength: float) -> None:
    backbone = example_mixture(dimension=6)
    latent = mixture_latent(backbone)
    noises = draw((2, 6), seed=4, purpose="chordedit").to(latent.z)
    expected = published(backbone, latent.z, levels, noises, 0.7 * strength)
    editor = ChordEdit(steps=steps, step_size=0.7, noises=2)
    found = editor.edit(latent, backbone.embed(["c"]), [strength], seed=4)[0].z
    # the clean estimate is z - s v here, and from the score, which divides by s, there
    assert relative_error(found, expected) < 1e-11
    assert relative_error(found, published(backbone, latent.z, levels, noises.flip(0) * 0.9, strength)) > 1e-2


def test_levels_are_cut_to_what_the_model_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked from 1 to 0 with a gap, a model whose levels end before is asked at its own ends."""
    model, seen = vp_model(latent=None), list[float]()
    known, latent = model.capabilities, mixture_latent(model)
    ask = model.velocity

    def velocity(z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        seen.append(float(s[0]))
        return ask(z, s, condition)

    monkeypatch.setattr(model, "velocity", velocity)
    ChordEdit(levels=(1.0, 0.0), steps=2, gap=0.1).edit(latent, model.embed(["c"]), [1.0])
    assert seen[::2] == [known.s_max, known.s_max - 0.1, known.s_min, known.s_min]


def test_the_difference_of_clean_estimates_is_averaged_over_noises(latent: JointLatent) -> None:
    """Each picture's own mean, and the velocity's factor ``-s``."""
    backbone, target = latent.backbone, latent.backbone.embed(["c"]).expand(3)
    noises = draw((4, 6), seed=1, purpose="tests").to(latent.z)
    expected = torch.zeros_like(latent.z)
    for e in noises:
        z = 0.6 * latent.z + 0.4 * e
        at = levels_of(z, 0.4)
        expected -= 0.1 * (backbone.velocity(z, at, target) - backbone.velocity(z, at, latent.condition))
    assert relative_error(clean_difference(latent, target, latent.z, 0.4, noises[:, None]), expected) < 1e-12
