"""Abilities of a model, as data: its levels, its guidance, its derivatives, the sizes that it takes."""

import dataclasses
from typing import Literal

from latentedit.core.errors import ConfigError
from latentedit.core.setting import check_value

GuidanceKind = Literal["cfg", "renormalized", "embedded", "none"]
"""How guidance acts: classifier-free on two branches; the same, and stock pipelines keep the conditional norm; as an
input of a guidance-distilled network, in one branch; not at all, in a network distilled to need none."""


UNKNOWN_SIZES = (1, 1, 1)
"""The sizes of a model for which nobody gave any."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Abilities of a backbone, as data.

    Args:
        s_min: lowest level at which the velocity is defined.
        s_max: highest level at which it is defined; grids start there or below.
        start_std: standard deviation of z at ``s_max`` (1 for rectified flow, 1 / (alpha + sigma) for VP).
        derivatives: any of "jvp" and "vjp", where the network supports forward- and reverse-mode differentiation.
        pixels: the backbone has an image codec (`encode`, `decode`).
        guidance: default guidance weight of sampling; 1 is the conditional velocity itself.
        guidance_kind: how the weight acts, see `GuidanceKind`.
        guidance_norm: of kind "renormalized": over what stock pipelines keep the conditional norm, a token of 2 x 2
            latents or a row of latents.
        size_multiple: image sides must be multiples of this.
        sizes: smallest, preferred and largest side of an image in pixels.
        references: largest number of reference images of an instruction-tuned model, according to its makers; 0 for
            models that take captions only.
        predicts_noise: the network predicts the noise of variance-preserving latents.
        flow_map: the network was distilled to a flow map ``u(z, s, s')``: ``z + (s' - s) u`` is an exact step from s to
            s', and the velocity is u at s' = s. `Backbone.velocity` gives u where the condition has an ``arrival``. How
            accurate its velocity is, and a step towards noise, is unknown until tested with real weights.
    """

    s_min: float = 0.0
    s_max: float = 1.0
    start_std: float = 1.0
    derivatives: frozenset[str] = frozenset({"jvp", "vjp"})
    pixels: bool = True
    guidance: float = 1.0
    guidance_kind: GuidanceKind = "cfg"
    guidance_norm: Literal["token", "row"] = "token"
    size_multiple: int = 1
    sizes: tuple[int, int, int] = UNKNOWN_SIZES
    references: int = 0
    predicts_noise: bool = False
    flow_map: bool = False

    def __post_init__(self) -> None:
        known = {"jvp", "vjp"}
        check_value(GuidanceKind, guidance_kind=self.guidance_kind)
        if not 0 <= self.s_min <= self.s_max <= 1:
            raise ConfigError(f"levels lie in 0 <= s_min <= s_max <= 1; got {self.s_min:g} and {self.s_max:g}")
        if not 0 < self.sizes[0] <= self.sizes[1] <= self.sizes[2]:
            raise ConfigError(f"sizes are the smallest, the preferred and the largest side; got {self.sizes}")
        if isinstance(self.derivatives, str) or not known.issuperset(self.derivatives):
            raise ConfigError(f"derivatives are a set of 'jvp' and 'vjp', or empty; got {self.derivatives!r}")

    def level(self, level: float) -> float:
        """The level in the model's range that is nearest to a level."""
        return min(max(level, self.s_min), self.s_max)

    def branches(self, guidance: float) -> int:
        """Evaluations of a guided velocity: one at weight 1 and for networks with a single branch, else two."""
        return 1 if guidance == 1 or self.guidance_kind in ("embedded", "none") else 2
