"""The settings of two papers on the geometry of latent spaces, as arguments of our functions.

What cannot be set, and what is not known of the papers, is in the documentation: "Reproduce the papers' settings".
"""

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from latentedit.core.errors import ConfigError, explaining, nearest
from latentedit.geometry.walks import LatentWalk


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PaperSettings:
    """Settings of one paper.

    The way up and down has no text in both, so encode with ``source_prompt=""`` or use ``latent.with_prompt("")``.
    """

    basis: Mapping[str, Any]  # arguments of `local_basis`
    paths: Mapping[str, Any]  # arguments of `paths_between`
    transport: Mapping[str, Any]  # arguments of `latentedit.transport`


PAPERS: Mapping[str, PaperSettings] = MappingProxyType(
    {
        "2302.12469": PaperSettings(
            basis={"pooling": "space", "rank": 30, "energy": 0.5, "prompt": ""},
            paths={"frames": 31, "pooling": "space"},
            transport={"rank": 30},
        ),
        # t = 0.7 T on the schedule of Stable Diffusion; the scripts edit along the first two vectors
        "2307.12868": PaperSettings(
            basis={"level": 0.858, "rank": 2, "prompt": "", "steps": 100}, paths={}, transport={"rank": 50}
        ),
    }
)


def settings_of(paper: str) -> PaperSettings:
    """The settings of a paper, by its arXiv number; see `PAPERS`."""
    if paper not in PAPERS:
        raise ConfigError(f"there are no settings of the paper {paper!r}: {nearest(paper, tuple(PAPERS))}")
    return PAPERS[paper]


@explaining
def paper_guidance(
    level: float, *, gamma: float = 1.0, delta: float = 1.0, repeats: int = 16
) -> tuple[LatentWalk, float]:
    """X-space guidance by gamma and delta in x_t, as arXiv 2307.12868 has it: the walk, and its scale.

    ``x_t = c Z`` with ``c = alpha + sigma``, so ``probe = delta / c`` and ``scale = repeats gamma delta / c^2``.
    ``model.decode(walk.edit(latent, basis.trace, basis.v, scales)[k, m])`` gives the images at a row k of ``scales``
    along the direction m: pixels ``[b, 3, h, w]`` in [-1, 1].
    """
    unit = math.hypot(1 - level, level)  # 1 / c
    walk = LatentWalk(move="guidance", repeats=repeats, probe=delta * unit)
    return walk, repeats * gamma * delta * unit**2
