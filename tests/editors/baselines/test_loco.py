import pytest
import torch
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.core.rng import draw
from latentedit.editors.baselines.difference_mask import difference_mask
from latentedit.editors.baselines.loco import LOCO
from latentedit.latents.inversion import invert, replay
from latentedit.latents.joint import JointLatent
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from latentedit.testing.tolerances import relative_error
from tests.directions.mixtures import levels_of, mixture_latent, times


@pytest.fixture
def backbone() -> GaussianMixtureBackbone:
    return example_mixture(dimension=6)


@pytest.fixture
def latent(backbone: GaussianMixtureBackbone) -> JointLatent:
    return mixture_latent(backbone)


def denoisers(backbone: GaussianMixtureBackbone, z: Tensor, s: float, text: Condition) -> Tensor:
    """``I - s J_v`` of each picture, in closed form."""
    return torch.eye(6, dtype=z.dtype) - s * backbone.at(z, levels_of(z, s), text).jacobian


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("strength", [-0.6, 1.2])
def test_is_the_null_space_projection_of_the_masked_change(
    backbone: GaussianMixtureBackbone, latent: JointLatent, rank: int, strength: float
) -> None:
    """Everything after the inversion written out, with closed-form Jacobians and plain powers of ``J^T J``."""
    target, s = backbone.embed(["c"]), 0.65
    trace = invert(latent, latent.path(6, s))
    top, at = trace.top, levels_of(latent.z, s)
    mask = difference_mask(latent, target.expand(3), level=0.4, maps=2, ratio=2.0, seed=5)
    assert bool(mask.any(1).all())
    assert bool((~mask).any(1).all())
    there, here = (backbone.at(top, at, text) for text in (target, latent.condition))
    wanted = mask * (there.clean - here.clean)
    v = times(denoisers(backbone, top, s, target).mT, wanted)
    if rank:
        rest = ~mask[:, :, None] * denoisers(backbone, top, s, latent.condition)
        start = draw((rank, 6), seed=5, purpose="loco").double().T
        columns = torch.linalg.matrix_power(rest.mT @ rest, 2) @ start
        v = v - times(columns @ torch.linalg.pinv(columns), v)
    offset = strength * 1.5 * 0.35 * v * (wanted.norm(dim=1) / v.norm(dim=1))[:, None]
    expected = replay(latent, trace, latent.condition, offset=offset)
    editor = LOCO(level=s, steps=6, scale=1.5, rank=rank, iterations=2, mask_level=0.4, maps=2, ratio=2.0)
    found = editor.edit(latent, target, [strength], seed=5)[0].z
    # the plain powers lose the square of their condition: some 1e-12 of float64
    assert relative_error(found, expected) < 1e-9
    assert relative_error(found, latent.z) > 1e-2


def test_the_projection_moves_the_estimate_outside_less(backbone: GaussianMixtureBackbone, latent: JointLatent) -> None:
    """At the top, one short step: what is left of a move is what the leading singular vectors outside do not see."""
    target, s = backbone.embed(["c"]), 0.7
    trace = invert(latent, latent.path(6, s))
    mask = difference_mask(latent, target.expand(3), level=0.5, maps=2, ratio=2.0, seed=0)
    rest = ~mask[:, :, None] * denoisers(backbone, trace.top, s, latent.condition)

    def outside(rank: int) -> Tensor:
        moves: list[Tensor] = []
        editor = LOCO(level=s, steps=6, rank=rank, iterations=20, maps=2, ratio=2.0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "latentedit.editors.baselines.loco.replay",
                lambda _latent, _trace, _text, *, offset, progress: moves.append(offset) or offset,
            )
            editor.edit(latent, target, [1.0], seed=0)
        return times(rest, moves[0]).norm(dim=1) / moves[0].norm(dim=1)

    following = torch.linalg.svdvals(rest)[:, 2]  # 20 iterations reach it to a per cent
    assert bool((outside(2) <= following * 1.01).all())
    assert bool((outside(2) < outside(0)).all())


def test_under_gaussians_of_one_covariance_and_everything_inside_it_is_linear_in_the_strength() -> None:
    """The Jacobian is one matrix D: the move is along ``D^T D (mu_1 - mu_0)`` up to the length, whatever the picture.

    The change of the clean estimate is ``s^2 C_s^-1 (mu_1 - mu_0)``, and the aligned way back is a linear map.
    """
    backbone = example_mixture(dimension=6, shared_covariance=True)
    latent = mixture_latent(backbone, condition=backbone.only(0))
    editor = LOCO(level=0.7, steps=6, scale=1.0, rank=0, ratio=1e-9)
    one = editor.edit(latent, backbone.only(1), [1.0])[0].z - latent.z
    assert relative_error(one, one[:1].expand_as(one)) < 1e-10
    assert relative_error(editor.edit(latent, backbone.only(1), [-3.0])[0].z - latent.z, -3 * one) < 1e-10
    covariance, eye = backbone.mixture.covariances[0], torch.eye(6, dtype=torch.float64)
    means = backbone.mixture.means[1] - backbone.mixture.means[0]
    total = 0.3**2 * covariance + 0.7**2 * eye
    change = 0.7**2 * torch.linalg.solve(total, means)
    along = 0.3 * covariance @ torch.linalg.solve(total, change)
    offset = 0.3 * change.norm() * along / along.norm()
    trace = invert(latent, latent.path(6, 0.7))
    back = replay(latent, trace, latent.condition, offset=offset.expand(3, -1))
    assert relative_error(latent.z + one, back) < 1e-10


def test_a_rank_that_leaves_nothing_is_refused(latent: JointLatent) -> None:
    with latent.backbone.count() as cost, pytest.raises(ConfigError, match=r"at most 5 .* got 6"):
        LOCO(rank=6).edit(latent, latent.backbone.embed(["c"]), [1.0])
    assert cost.evaluations == 0
