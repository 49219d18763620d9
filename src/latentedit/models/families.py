"""What families there are, what each can do, and what was tested of it; nothing heavy is imported."""

import dataclasses
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latentedit.core.plugins import BACKBONES

MEASURED = Path(__file__).with_name("families.json")
"""What the tests of the families found; they write it too."""

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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A miniature of a family that was tested.

    Args:
        name: of its tests.
        pipeline: its class.
        guidance_kind: how the guidance weight acts, see `latentedit.models.capabilities.GuidanceKind`.
        guidance: default weight.
        window: tokens of text; 0 where it is as many as the tokenizer has.
        windows: how texts of different lengths go together: "exact", "masked" or "equal".
        tested: what was.
    """

    name: str
    pipeline: str
    guidance_kind: str
    guidance: float
    window: int
    windows: str
    tested: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Pipeline classes that share an adapter.

    Args:
        name: of the family.
        module: of its adapter.
        pipelines: classes that are taken.
        licence: of its makers' weights.
        multiple_px: sides of pictures are multiples of this; 0 where that differs from model to model.
        lines: of the module; 0 where there is no source.
        half: half precision that it was published for; empty where it was not tested.
        denoiser: class of the network.
        published: editors for which its papers have settings.
        members: what was tested of it.
    """

    name: str
    module: str
    pipelines: tuple[str, ...]
    licence: str
    multiple_px: int
    lines: int
    half: str = ""
    denoiser: str = ""
    published: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()


def families() -> list[Family]:
    """Every family that is installed, a stranger's too, by name."""
    by_module: dict[str, list[str]] = {}
    for pipeline, point in BACKBONES.points().items():
        by_module.setdefault(point.module, []).append(pipeline)
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    found = [_family(module, pipelines, measured.get(module, {})) for module, pipelines in by_module.items()]
    return sorted(found, key=lambda one: one.name.lower())


def _family(module: str, pipelines: Sequence[str], measured: dict[str, Any]) -> Family:
    stem = module.rpartition(".")[2]
    name, licence, multiple = _KNOWN.get(stem, (stem, "see the model's card", 0))
    spec = importlib.util.find_spec(module)
    source = None if spec is None or spec.origin is None else Path(spec.origin)
    return Family(
        name=name,
        module=module,
        pipelines=tuple(sorted(pipelines)),
        licence=licence,
        multiple_px=multiple,
        lines=0 if source is None else len(source.read_text(encoding="utf-8").splitlines()),
        half=measured.get("half", ""),
        denoiser=measured.get("denoiser", ""),
        published=tuple(measured.get("published", ())),
        members=tuple(_member(one) for one in measured.get("members", ())),
    )


def _member(measured: dict[str, Any]) -> Member:
    measured["tested"] = tuple(measured["tested"])
    return Member(**measured)
