"""The families of models that have an adapter; nothing heavy is imported."""

import dataclasses

from latentedit.core.plugins import BACKBONES

UNTRIED = (
    "Tested on miniatures with random weights against the stock pipelines; none was run with real weights. Licences "
    "are as known in November 2026, some from memory: the model's card decides."
)

_KNOWN = {
    "auraflow": ("AuraFlow", "Apache-2.0", 16),
    "chroma": ("Chroma", "Apache-2.0", 16),
    "cogview4": ("CogView4", "Apache-2.0", 16),
    "ddpm": ("DDPM in pixels", "see the model's card", 0),
    "flux": ("FLUX.1", "schnell Apache-2.0; dev and Kontext non-commercial", 16),
    "flux2": ("FLUX.2", "klein 4B Apache-2.0; klein 9B and dev non-commercial", 16),
    "krea2": ("Krea 2", "see the model's card", 16),
    "longcat_image": ("LongCat-Image", "Apache-2.0", 16),
    "lumina2": ("Lumina-Image 2.0", "Apache-2.0", 16),
    "ovis_image": ("Ovis-Image", "Apache-2.0", 16),
    "pixart": ("PixArt-alpha, Sigma", "OpenRAIL++", 16),
    "qwen_image": ("Qwen-Image", "Apache-2.0", 16),
    "sana": ("Sana, Sana-Sprint", "NVIDIA, see the model's card", 32),
    "sd": ("Stable Diffusion 1, 2", "CreativeML OpenRAIL-M", 64),
    "sd3": ("Stable Diffusion 3, 3.5", "Stability AI Community", 16),
    "sdxl": ("Stable Diffusion XL", "OpenRAIL++-M", 32),
    "zimage": ("Z-Image", "Apache-2.0", 16),
}
"""By the module of the adapter: name of the family, licence of its makers' weights (as read in 2026), and what sides of
pictures are multiples of with its makers' autoencoder, in px; 0 where that differs from model to model."""


@dataclasses.dataclass(frozen=True, slots=True)
class Family:
    """Pipeline classes that share an adapter; ``multiple_px`` is 0 where it differs from model to model."""

    name: str
    module: str
    pipelines: tuple[str, ...]
    licence: str
    multiple_px: int


def families() -> list[Family]:
    """Every installed family, third parties' too, by name."""
    by_module: dict[str, list[str]] = {}
    for pipeline, point in BACKBONES.points().items():
        by_module.setdefault(point.module, []).append(pipeline)
    found: list[Family] = []
    for module, pipelines in by_module.items():
        stem = module.rpartition(".")[2]
        name, licence, multiple = _KNOWN.get(stem, (stem, "see the model's card", 0))
        found.append(Family(name, module, tuple(sorted(pipelines)), licence, multiple))
    return sorted(found, key=lambda one: one.name.lower())
