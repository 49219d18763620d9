"""What a model can do, as data: levels, derivatives, guidance and sizes."""

import dataclasses
from typing import Literal

GuidanceKind = Literal["cfg", "renormalised", "embedded", "none"]
"""How guidance acts: classifier-free on two branches; the same, and stock pipelines keep the conditional norm; as an
input of a guidance-distilled network, in one branch; not at all, in a network distilled to need none."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a backbone can do, as data.

    Args:
        s_min: lowest level at which the velocity is defined.
        s_max: highest level at which it is defined; grids start there or below.
        start_std: standard deviation of z at ``s_max`` (1 for rectified flow, 1 / (alpha + sigma) for VP).
        derivatives: any of "jvp" and "vjp", where the network supports forward- and reverse-mode differentiation.
        pixels: the backbone has a picture codec (`encode`, `decode`).
        guidance: default guidance weight of sampling; 1 is the conditional velocity itself.
        guidance_kind: how the weight acts, see `GuidanceKind`.
        guidance_norm: of kind "renormalised": over what stock pipelines keep the conditional norm, a token of 2 x 2
            latents or a row of latents.
        size_multiple: picture sides must be multiples of this.
        sizes: smallest, preferred and largest side of a picture in pixels.
        references: most pictures, by its makers' word, that the network is shown beside its latents and edits by an
            instruction; 0 of models that read captions alone.
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
    sizes: tuple[int, int, int] = (1, 1, 1)
    references: int = 0

    def branches(self, guidance: float) -> int:
        """Evaluations of a guided velocity: two, but one at weight 1, and where the network knows no second branch."""
        return 1 if guidance == 1 or self.guidance_kind in ("embedded", "none") else 2
