"""RF-Inversion: a controlled way up to a given noise, and a controlled way down that the picture attracts."""

import itertools
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.core.rng import Seed, noise_like
from latentedit.core.settings import Guidance, Level, Share, settings
from latentedit.core.solvers import each_step, level_batch
from latentedit.editors.baselines.path_editor import PathEditor, branches
from latentedit.editors.baselines.text_field import text_field
from latentedit.latents.joint import JointLatent


@settings
class RFInversion(PathEditor):
    """Up: ``dY/ds = (1 - gamma) v(Y, s, "") + gamma (e - Y) / (1 - s)``, down: ``dX/ds = (1 - k) r + k v(X, s, c1)``.

    ``r = (X - x) / s`` leads straight to the picture and ``k = strength (1 - eta_i)``, where ``eta_i`` is ``eta`` on
    the steps from ``start`` to ``stop`` and 0 on the others. Strength 1 is the published method; that strength scales
    what is not the straight way is ours: towards strength 0 the edit goes to the picture continuously. The level in r
    counts from the clean end of the grid, which is 0 for rectified flow.

    Args:
        level: how far up, in (0, 1]; 1 is the whole path.
        gamma: share of the straight way to the noise on the way up, in [0, 1].
        eta: share of the straight way to the picture on the way down, in [0, 1].
        start: first step on which eta acts, as a share of the steps of the way down.
        stop: first step on which it no longer acts, likewise.
        guidance: classifier-free guidance weight of the way down.
        legacy: the way up as the published code has it: its i-th step of N has the length of the i-th step of the way
            *down*, and the network and the control are told the level ``i / N`` of the way. On uniform grids no change.

    Raises:
        ConfigError: a setting outside its range, or a stop that is not after the start.

    Source:
        Rout et al. 2024, arXiv 2410.10792, equations of the controlled ODEs in levels; the code: diffusers' community
        pipeline for FLUX. Its stochastic way down is not here.
    """

    name: ClassVar[str] = "rf-inversion"

    level: Level = 1.0
    gamma: Share = 0.5
    eta: Share = 0.9
    start: Share = 0.0
    stop: Share = 0.25
    guidance: Guidance = 1.0
    legacy: bool = False

    def __post_init__(self) -> None:
        if self.stop < self.start:
            raise ConfigError(f"stop must not come before start ({self.start:g}); got {self.stop:g}. Exchange them")

    @property
    def keeps_equal_texts(self) -> bool:
        """Only the straight way ends at the picture."""
        return self.eta == 1 and self.start == 0 and self.stop == 1

    def _cost(self, k: int) -> int:
        """``k (1 up + 1 down, or 2 down if guided)``."""
        return k * (1 + branches(self.guidance))

    def _edit(
        self, latent: JointLatent, target: Condition, *, strength: float, seed: Seed, progress: Progress | None
    ) -> Float[Tensor, "b *latent"]:
        levels = self._path(latent).levels
        clean, steps = levels[-1], len(levels) - 1
        noise = noise_like(latent.z, seed=seed, purpose=self.name)
        moved = self._up(latent, levels, noise, progress) - latent.z
        field = text_field(latent, target, guidance=self.guidance)
        held = range(round(self.start * steps), round(self.stop * steps))
        for index, s, s_next in each_step(levels, name=self.name, progress=progress):
            free = strength * (1 - self.eta) if index in held else strength
            z = latent.z + moved
            straight = moved / (s - clean)
            velocity = field(z, level_batch(s, z))
            moved = (s_next - clean) / (s - clean) * moved + (s_next - s) * free * (velocity - straight)
        return latent.z + moved

    def _up(
        self,
        latent: JointLatent,
        levels: tuple[float, ...],
        noise: Float[Tensor, "*latent"],
        progress: Progress | None,
    ) -> Float[Tensor, "b *latent"]:
        rising, steps = levels[::-1], len(levels) - 1
        labels, lengths = rising[:-1], [above - below for below, above in itertools.pairwise(rising)]
        if self.legacy:
            labels = tuple(rising[0] + (rising[-1] - rising[0]) * index / steps for index in range(steps))
            lengths = lengths[::-1]
        field, z = text_field(latent, latent.backbone.null(latent.condition).expand(len(latent))), latent.z
        for done, (s, length) in enumerate(zip(labels, lengths, strict=True), start=1):
            velocity = field(z, level_batch(s, z))
            z = z + length * ((1 - self.gamma) * velocity + self.gamma * (noise - z) / (1 - s))
            if progress is not None:
                progress("invert", done, steps)
        return z
