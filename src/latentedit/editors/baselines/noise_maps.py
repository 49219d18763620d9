"""Edit-friendly inversion: independent noise at every level, and the ancestral steps between those states.

The states are ``x_k = (1 - s_k) x + s_k e_k`` with noises e_k that have nothing to do with each other, so no state
follows from the one before; what an ancestral step (eta 1) down from x_k misses,

    r_k = x_{k+1} - mu_k(x_k, v(x_k, c0)),        mu_k(z, v) = (1 - s_{k+1}) x_hat + kept_k e_hat,

takes the place of its fresh noise. An edit makes the same steps with the same r_k from other velocities:
``y_{k+1} = mu_k(y_k, v_edit) + r_k``. Because mu_k is linear, the displacement ``d = y - x`` obeys

    d_{k+1} = mu_k(d_k, v_edit - v(x_k, c0)),     d_0 = 0,

in which r_k has dropped out. This form is used: where the two velocities are equal it leaves exactly the picture,
which ``mu + r`` would miss by its rounding. The last step goes to the picture itself, at level 0, where a step has no
fresh noise; so r is kept as a displacement and never divided by the share of it.

With ``u = d / (1 - s)`` and the difference of noise estimates ``de``, the step is that of delta denoising,
``u' = u - (r^2 - r'^2) / r de`` with the ratio ``r = s / (1 - s)`` before and ``r'`` after.
"""

import dataclasses
import math

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.levels import LevelGrid
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed, noise_like
from latentedit.core.solvers import each_step, level_batch, stochastic_step
from latentedit.editors.baselines.flow_path import Difference
from latentedit.latents.joint import JointLatent


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NoiseMaps:
    """The states of an edit-friendly inversion.

    Args:
        levels: falling; the last is 0.
        states: one a level; the last is the picture.
    """

    levels: tuple[float, ...]
    states: tuple[Float[Tensor, "b *latent"], ...]

    @property
    def steps(self) -> int:
        """Number of steps, one less than the number of states."""
        return len(self.levels) - 1

    def mean(self, index: int, z: Float[Tensor, "b *latent"], v: Float[Tensor, "b *latent"]) -> Tensor:
        """``mu_k(z, v)``: where step k leads without its noise. Linear in both, so displacements may be given."""
        still = torch.zeros_like(z[:1])
        return stochastic_step(z, v, self.levels[index], self.levels[index + 1], eta=1.0, noise=still)

    def missed(self, index: int, v: Float[Tensor, "b *latent"]) -> Tensor:
        """``r_k``: from where step k leads under the velocity v to the next state.

        Divided by `fresh_share` of the two levels, above level 0, it is the noise map z_k of the literature.
        """
        return self.states[index + 1] - self.mean(index, self.states[index], v)


def noise_maps(latent: JointLatent, grid: LevelGrid, *, seed: Seed, shift: int = 0) -> NoiseMaps:
    """Noise pictures independently at every level of a grid.

    The grid's last level becomes 0, where the picture is, also on a model whose own grid ends just above.

    With a shift, the state of level s_k has only the noise of ``t = s_{k + shift}`` (none past the end) and is scaled
    to the size that level s_k promises, ``h(s_k) / h(t)`` with ``h(s) = sqrt((1 - s)^2 + s^2)``, the deviation at level
    s of data with unit variance. On a variance-preserving model that is the model's own ``x_t`` of the cleaner time,
    given to it as one of the noisier.

    Args:
        latent: the pictures; they share all noises.
        grid: falling levels.
        shift: by how many steps the states are cleaner than their levels.

    Source:
        Huberman-Spiegelglas et al. 2024 (arXiv 2304.06140), in flow coordinates. The shift: Deutch et al. 2024,
        TurboEdit (arXiv 2408.00735).
    """
    levels = (*grid.levels[:-1], 0.0)
    states = list[Tensor]()
    for index, s in enumerate(levels[:-1]):
        noise = noise_like(latent.z, seed=seed, purpose="noise maps", index=index)
        t = levels[min(index + shift, len(levels) - 1)]
        noised = (1 - t) * latent.z + t * noise
        states.append(noised * (math.hypot(1 - s, s) / math.hypot(1 - t, t)) if shift else noised)
    return NoiseMaps(levels=levels, states=(*states, latent.z))


def follow_maps(
    latent: JointLatent, maps: NoiseMaps, difference: Difference, *, name: str, progress: Progress | None = None
) -> Float[Tensor, "b *latent"]:
    """``d <- mu_k(d, difference(x_k, x_k + d, s_k))`` from d = 0; a difference that is zero at d = 0 leaves exactly x.

    Args:
        difference: of the velocity of the edit and that of the source.
        name: what ``progress`` is told about.

    Returns:
        ``x + d``.

    Cost:
        ``maps.steps`` calls of ``difference``.
    """
    moved, lowest = torch.zeros_like(latent.z), latent.backbone.capabilities.s_min
    for index, s, _ in each_step(maps.levels, name=name, progress=progress):
        a = maps.states[index]
        moved = maps.mean(index, moved, difference(a, a + moved, level_batch(s, a).clamp_min(lowest)))
    return latent.z + moved
