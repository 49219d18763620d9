"""Table of the model families that have an adapter, made without importing the adapters."""

import dataclasses

from latentedit.core.plugins import BACKBONES

UNTRIED = (
    "Tested on miniatures with random weights against the stock pipelines; none was run with real weights. Licenses "
    "are as known in November 2026, some from memory: the model's card decides."
)

# By the class of the adapter: family, license of the published weights (as read in 2026), and what the sides of images
# are multiples of with the published autoencoder, in px; 0 where that differs from model to model.
_FAMILIES = {
    "AnimaBackbone": ("Anima", "see the model's card", 16),
    "AuraFlowBackbone": ("AuraFlow", "Apache-2.0", 16),
    "ChromaBackbone": ("Chroma", "Apache-2.0", 16),
    "CogView4Backbone": ("CogView4", "Apache-2.0", 16),
    "DDPMBackbone": ("DDPM in pixels", "see the model's card", 0),
    "FluxBackbone": ("FLUX.1", "schnell Apache-2.0; dev and Kontext non-commercial", 16),
    "Flux2Backbone": ("FLUX.2", "klein 4B Apache-2.0; klein 9B and dev non-commercial", 16),
    "Flux3Backbone": ("FLUX.3", "FLUX Kommunity", 16),
    "Krea2Backbone": ("Krea 2", "see the model's card", 16),
    "LongCatImageBackbone": ("LongCat-Image", "Apache-2.0", 16),
    "Lumina2Backbone": ("Lumina-Image 2.0", "Apache-2.0", 16),
    "OvisImageBackbone": ("Ovis-Image", "Apache-2.0", 16),
    "PixArtBackbone": ("PixArt-alpha, Sigma", "OpenRAIL++", 16),
    "QwenImageBackbone": ("Qwen-Image", "Apache-2.0", 16),
    "QwenImage21Backbone": ("Qwen-Image 2.1", "Qwen Research", 32),
    "SanaBackbone": ("Sana, Sana-Sprint", "NVIDIA, see the model's card", 32),
    "StableDiffusionBackbone": ("Stable Diffusion 1, 2, XL", "CreativeML OpenRAIL-M and OpenRAIL++-M", 0),
    "StableDiffusion3Backbone": ("Stable Diffusion 3, 3.5", "Stability AI Community", 16),
    "ZImageBackbone": ("Z-Image", "Apache-2.0", 16),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Classes of denoisers and their adapters; ``multiple_px`` is 0 where it differs from model to model."""

    name: str
    adapters: tuple[str, ...]
    networks: tuple[str, ...]
    license: str
    multiple_px: int


def families() -> list[Family]:
    """Every installed family, including those of third parties, by name."""
    groups: dict[tuple[str, str, int], dict[str, str]] = {}
    for network, point in BACKBONES.points().items():
        unlisted = (point.attr.removesuffix("Backbone"), "see the model's card", 0)
        groups.setdefault(_FAMILIES.get(point.attr, unlisted), {})[network] = f"{point.module}.{point.attr}"
    table = [
        Family(
            name=name,
            adapters=tuple(sorted(set(group.values()))),
            networks=tuple(sorted(group)),
            license=license,
            multiple_px=multiple,
        )
        for (name, license, multiple), group in groups.items()
    ]
    return sorted(table, key=lambda family: family.name.lower())
