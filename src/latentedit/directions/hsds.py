"""Score distillation filtered by the Hessian: a direction in the image latent, found from two texts.

This is **our own derivation**. The papers that name Hessian score distillation sampling (arXiv 2411.08196) do not give
its formula in any text that we have; nothing here should be cited as theirs.

A residual r says how the clean estimate changes with the text (`distillation`). With ``D = dx_hat/dz = I - s J_v`` the
denoiser's Jacobian under the source text, ``A = s^2 H = I - (1 - s) D`` is the Hessian of ``-log p_s(z | source)`` in
units in which noise is 1, and r is weighted by it (`filters`). The one-product family

    d_gamma = r + gamma (1 - s) D r

keeps the Hessian at gamma = -1 (``A r``, the gradient of the score residual, but that the exact one has the target
text's Hessian), is delta denoising at 0, and the first step towards Newton's ``A^-1 r`` at +1; damped Newton,
Levenberg-Marquardt and Neumann sums go further. What would change attributes to be kept can be projected out
(`preserve`).
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.core.levels import shift_level
from latentedit.core.rng import draw
from latentedit.core.settings import check_choice, check_count, check_number
from latentedit.directions.distillation import (
    TARGET_BRANCHES,
    Residual,
    needs_source,
)
from latentedit.directions.filters import Filter, products

Projection = Literal["none", "null-space", "kkt"]
"""How attributes are preserved; see `preserve`."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HSDS:
    """Settings of the whole family; our derivation, see the module.

    One step looks once; several at equal levels iterate; falling levels anneal. With the flow's own step size
    and nothing else, annealing is FlowEdit's path, written as delta denoising.

    Args:
        residual: "dds" follows the difference of the two texts, "sds" the target alone (it moves whatever the caption
            leaves open), "mixed" the derivative along the text at the source.
        filter: what is done with it: "gamma", "newton", "levenberg-marquardt" or "neumann".
        gamma: weight of the Hessian term, in [-1, 1]; 0 needs no derivative, and is what the other filters want.
        damping: mu of Newton, Levenberg-Marquardt and of the metric of "kkt", in [0, 1000]; curvature is at most 1.
        iterations: of conjugate gradients, for the same three; the terms of the Neumann sum.
        projection: how the captions to preserve are kept: "null-space" in Euclid's metric, "kkt" in the metric
            ``A + mu I``; "none" takes no captions.
        levels: first and last level, falling or equal; a single step uses the first.
        shift: spacing of the levels, above 0: 1 is even, more looks longer near the first level (SD3's shift).
        steps: 1 looks once; more follow the edit as it grows.
        step_size: how far each of several steps goes; a single step goes all the way. None is the flow's own step from
            one level to the next, ``(s - s') / (s (1 - s'))``; it never looks at the last level itself.
        noises: noises averaged in each step, shared by all branches and pictures.
        antithetic: the noises come in pairs e and -e, whose errors of odd order cancel.
        keep: energy of the change, as a part of its strongest place, below which places stay as they are; 0 is off.
        release: the same, above which what the source estimate leaves unexplained is let go; 0 is off.
        guidance: classifier-free guidance weight of every branch; 1 is the conditional velocity. The Jacobian is
            always that of the unguided velocity: a guided field is not the score of any density.

    Raises:
        ConfigError: a setting outside its range, or a gamma that the filter would not use.
    """

    residual: Residual = "dds"
    filter: Filter = "gamma"
    gamma: float = 0.0
    damping: float = 0.3
    iterations: int = 3
    projection: Projection = "none"
    levels: tuple[float, float] = (0.95, 0.3)
    shift: float = 1.0
    steps: int = 16
    step_size: float | None = 0.4
    noises: int = 1
    antithetic: bool = False
    keep: float = 0.0
    release: float = 0.0
    guidance: float = 1.0

    def __post_init__(self) -> None:
        check_choice("residual", self.residual, Residual)
        check_choice("filter", self.filter, Filter)
        check_choice("projection", self.projection, Projection)
        check_number("gamma", self.gamma, -1, 1)
        if self.filter != "gamma" and self.gamma != 0:
            raise ConfigError(
                f"expected gamma 0 with the filter {self.filter!r}; got {self.gamma}: it would not use it"
            )
        check_number("damping", self.damping, 0, 1000)
        check_count("iterations", self.iterations)
        if len(self.levels) != 2:
            raise ConfigError(f"expected two levels, the first and the last; got {self.levels}")
        check_number("the first level", self.levels[0], 0, 1, above=True)
        check_number("the last level", self.levels[1], 0, self.levels[0], above=self.step_size is not None)
        check_number("shift", self.shift, 0, 100, above=True)
        check_count("steps", self.steps)
        if self.step_size is not None:
            check_number("step_size", self.step_size, 0, 10, above=True)
        elif self.steps > 1 and self.levels[0] == self.levels[1]:
            raise ConfigError("expected falling levels for the flow's own steps; got equal ones. Give a step_size")
        check_count("noises", self.noises)
        if self.antithetic and self.noises % 2:
            raise ConfigError(f"expected an even number of antithetic noises; got {self.noises}")
        check_number("keep", self.keep, 0, 1)
        check_number("release", self.release, 0, 1)
        if self.release and self.residual != "dds":
            raise ConfigError(f"expected the residual 'dds' with release; got {self.residual!r}")
        check_number("guidance", self.guidance, -100, 100)

    def path(self) -> list[tuple[float, float]]:
        """The levels at which it looks, and how far it goes at each."""
        flow = self.step_size is None
        first, last = self.levels
        even = torch.linspace(1, 0, self.steps + flow, dtype=torch.float64).tolist()
        nodes = [last + (first - last) * shift_level(share, self.shift) for share in even]
        if self.steps == 1:
            return [(first, 1.0)]
        if self.step_size is not None:
            return [(s, self.step_size) for s in nodes]
        return [(s, (s - after) / (s * (1 - after))) for s, after in itertools.pairwise(nodes)]

    def draw(self, shape: Sequence[int], *, seed: int, index: int) -> Float[Tensor, "m *latent"]:
        """The noises of a step."""
        if not self.antithetic:
            return draw((self.noises, *shape), seed=seed, purpose="hsds", index=index)
        half = draw((self.noises // 2, *shape), seed=seed, purpose="hsds", index=index)
        return torch.cat([half, -half])

    def evaluations(self, preserved: int = 0, *, measured: bool = False) -> int:
        """Network evaluations a picture: ``noises * (branches * (2 if guided) + 2 * products)``.

        Args:
            preserved: number of captions to preserve.
            measured: of `measure_curvature`, which takes one product a step and noise also at gamma 0.

        Returns:
            With k captions and K iterations: a step has 1 ("dds", "sds") or 2 ("mixed") target branches, k more, and
            a source branch but for "sds" and the first "mixed" step without captions. Its products are 1 at gamma
            other than 0, K for "newton" and "neumann", 1 + 2 K for "levenberg-marquardt", and K k more for "kkt".
        """
        sources = sum(needs_source(self.residual, first=step == 0, preserved=preserved) for step in range(self.steps))
        branches = self.steps * (TARGET_BRANCHES[self.residual] + preserved) + sources
        taken = products(self.filter, gamma=self.gamma, iterations=self.iterations, measured=measured)
        metric = self.iterations * preserved if self.projection == "kkt" else 0
        return self.noises * (branches * (1 if self.guidance == 1 else 2) + 2 * self.steps * (taken + metric))
