"""Score distillation filtered by the Hessian: a direction in the image latent, found from two texts.

This is **our own derivation**. The texts of Hessian score distillation sampling (arXiv 2411.08196) that we have do not
give its formula; nothing here should be cited as theirs.

A residual r says how the clean estimate changes with the text (`distillation`). With ``D = dx_hat/dz = I - s J_v`` the
denoiser's Jacobian under the source text, ``A = s^2 H = I - (1 - s) D`` is the Hessian of ``-log p_s(z | source)`` in
units in which noise is 1, and r is weighted by it (`filters`). The one-product family

    d_gamma = r + gamma (1 - s) D r

keeps the Hessian at gamma = -1 (``A r``, the gradient of the score residual, but that the exact one has the target
text's Hessian), is delta denoising at 0, and the first step towards Newton's ``A^-1 r`` at +1; damped Newton,
Levenberg-Marquardt and Neumann sums go further. What would change attributes to be kept can be projected out
(`preserve`).
"""

import itertools
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.core.levels import shift_level
from latentedit.core.rng import Seed, noise_like
from latentedit.core.settings import Count, Guidance, Levels, Positive, Share, settings
from latentedit.directions.distillation import TARGET_BRANCHES, Residual, needs_source
from latentedit.directions.filters import Filter, products

Projection = Literal["none", "null-space", "kkt"]  # see `preserve`


@settings
class HSDS:
    """Settings of the search; our derivation, see the module.

    One step takes one residual; several at equal levels iterate; falling levels anneal. With the flow's own step size
    and nothing else, annealing is FlowEdit's path, written as delta denoising.

    Args:
        residual: "dds" follows the difference of the two texts, "sds" the target alone (it moves whatever the caption
            leaves open), "mixed" the derivative along the text at the source.
        filter: what is done with it: "gamma", "newton", "levenberg-marquardt" or "neumann".
        gamma: weight of the Hessian term, in [-1, 1]; 0 needs no derivative, and is what the other filters want.
        gamma_levels: first and last level, falling, between which gamma counts; outside them it is 0.
        one_sided: ``(1 - s) D r`` is taken as ``x_hat(x_s + (1 - s) r) - x_hat(x_s)``: 1 evaluation in the place of 2,
            and D a mean over the way. For gamma, the residual "dds" and guidance 1 only.
        damping: mu, of Newton, Levenberg-Marquardt and the metric of "kkt", in [0, 1000]; curvature is at most 1.
        iterations: of conjugate gradients, for the same three; the terms of the Neumann sum.
        projection: how the captions to preserve are kept: "null-space" in Euclid's metric, "kkt" in the metric
            ``A + mu I``; "none" takes no captions.
        levels: first and last level, falling or equal; a single step uses the first.
        shift: spacing of the levels, above 0: 1 is even, more spends more steps near the first level (SD3's shift).
        steps: number of residuals; from the second on they follow the edit as it grows.
        step_size: how far each of several steps goes; a single step goes all the way. None is the flow's own step from
            one level to the next, ``(s - s') / (s (1 - s'))``; it takes no residual at the last level itself.
        noises: noises averaged in each step, shared by all branches and pictures.
        antithetic: the noises come in pairs e and -e, whose errors of odd order cancel.
        keep: floor f of a soft mask: displacements are multiplied by ``p / (p + f max p)``, p their local energy
            (`preserve.change_share`), so that weak places stay as they are; 0 is off.
        release: floor of the same mask; its square scales how much of the source reconstruction residual
            ``x - x_hat(x_s, c0)`` is subtracted where the displacement is strong, of the part along the
            displacement (`locality.along`); 0 is off.
        gain: factor of the final displacement, to make up for what the masks take from it.
        guidance: classifier-free guidance weight of every branch; 1 is the conditional velocity. The Jacobian is
            always that of the unguided velocity: a guided field is not the score of any density.

    Raises:
        ConfigError: a setting outside its range, or a gamma that the filter would not use.
    """

    residual: Residual = "dds"
    filter: Filter = "gamma"
    gamma: Annotated[float, Field(ge=-1, le=1)] = 0.0
    gamma_levels: Levels = (1.0, 0.0)
    one_sided: bool = False
    damping: Annotated[float, Field(ge=0, le=1000)] = 0.3
    iterations: Count = 3
    projection: Projection = "none"
    levels: Levels = (0.95, 0.3)
    shift: Positive = 1.0
    steps: Count = 16
    step_size: Annotated[float, Field(gt=0, le=10)] | None = 0.4
    noises: Count = 1
    antithetic: bool = False
    keep: Share = 0.0
    release: Share = 0.0
    gain: Positive = 1.0
    guidance: Guidance = 1.0

    def __post_init__(self) -> None:
        if self.filter != "gamma" and self.gamma != 0:
            raise ConfigError(f"the filter {self.filter!r} does not use gamma; got {self.gamma}. Leave gamma at 0")
        if self.step_size is not None and self.levels[1] == 0:
            raise ConfigError("the last of the levels must be above 0 with a step_size, which looks there; got 0")
        if self.step_size is None and self.steps > 1 and self.levels[0] == self.levels[1]:
            raise ConfigError(f"the flow's own steps need falling levels; got {list(self.levels)}. Give a step_size")
        if self.antithetic and self.noises % 2:
            raise ConfigError(f"antithetic noises come in pairs; got {self.noises}. Take an even number of noises")
        if self.release and self.residual != "dds":
            raise ConfigError(f"release works with the residual 'dds' only; got {self.residual!r}")
        if self.one_sided and (self.filter, self.residual, self.guidance) != ("gamma", "dds", 1):
            raise ConfigError(
                "one_sided needs the filter 'gamma', the residual 'dds' and guidance 1; "
                f"got {self.filter!r}, {self.residual!r} and {self.guidance:g}"
            )

    def path(self) -> list[tuple[float, float]]:
        """The level and the step size of each step."""
        flow = self.step_size is None
        first, last = self.levels
        even = torch.linspace(1, 0, self.steps + flow, dtype=torch.float64).tolist()
        nodes = [last + (first - last) * shift_level(share, self.shift) for share in even]
        if self.steps == 1:
            return [(first, 1.0)]
        if self.step_size is not None:
            return [(s, self.step_size) for s in nodes]
        return [(s, (s - after) / (s * (1 - after))) for s, after in itertools.pairwise(nodes)]

    def gamma_at(self, level: float) -> float:
        """Weight of the Hessian term at a level."""
        first, last = self.gamma_levels
        return self.gamma if last <= level <= first else 0.0

    def draw(self, z: Float[Tensor, "b *latent"], *, seed: Seed, index: int) -> Float[Tensor, "m b *latent"]:
        """The noises of a step."""
        if not self.antithetic:
            return noise_like(z, seed=seed, purpose="hsds", index=index, count=self.noises)
        half = noise_like(z, seed=seed, purpose="hsds", index=index, count=self.noises // 2)
        return torch.cat([half, -half])

    def evaluations(self, preserved: int = 0, *, guided: int = 2) -> int:
        """Network evaluations per picture: ``noises * (branches * (2 if guided) + 2 * products)``; 1 where one-sided.

        With k captions ``preserved`` and K iterations: a step has 1 ("dds", "sds") or 2 ("mixed") target branches, k
        more, and a source branch but for "sds" and the first "mixed" step without captions. Its products are 1 at gamma
        other than 0 at its level, K for "newton" and "neumann", 1 + 2 K for "levenberg-marquardt", and K k more for
        "kkt". ``guided`` is 1 on models that take the guidance weight as an input, see `Capabilities.branches`.
        """
        sources = sum(needs_source(self.residual, first=step == 0, preserved=preserved) for step in range(self.steps))
        branches = self.steps * (TARGET_BRANCHES[self.residual] + preserved) + sources
        taken = sum(
            products(self.filter, gamma=self.gamma_at(level), iterations=self.iterations) for level, _ in self.path()
        )
        metric = self.steps * self.iterations * preserved if self.projection == "kkt" else 0
        price = 1 if self.one_sided else 2
        return self.noises * (branches * (1 if self.guidance == 1 else guided) + price * taken + 2 * metric)
