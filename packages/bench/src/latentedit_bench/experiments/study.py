"""What analyses look at: pictures in a model, levels, and the local bases there, each computed once."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from latentedit.core.errors import ConfigError
from latentedit.core.files.tensors import pack, read_tensor_file
from latentedit.core.files.writing import written_beside
from latentedit.directions.local_basis import LocalBasis, local_basis
from latentedit.latents.encode import PictureLike, encode
from latentedit.latents.inversion import invert
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.feature_jacobian import FeatureMap

LEVELS = (0.95, 0.85, 0.7, 0.5, 0.3, 0.15)
"""From almost noise to almost the picture."""

_TENSORS = ("u", "singular_values", "v", "residuals")
_COUNTS = ("iterations", "products", "evaluations")
"""Fields of a basis that are stored as tensors, and as whole numbers."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Study:
    """Pictures in one model, and where they are looked at.

    Args:
        backbone: the model.
        latents: one a picture, each under no text, so that nothing but the picture tells them apart.
        levels: falling.
        rank: of the local bases.
        site: the feature.
        steps: of the model's whole grid.
        seed: of every search and every draw.
        folder: where bases are kept between runs; None keeps none.
    """

    backbone: Backbone
    latents: tuple[JointLatent, ...]
    levels: tuple[float, ...] = LEVELS
    rank: int = 10
    site: str = ""
    steps: int = 28
    seed: int = 0
    folder: Path | None = None

    def __len__(self) -> int:
        return len(self.latents)

    @staticmethod
    def of(
        backbone: Backbone,
        pictures: Sequence[PictureLike],
        *,
        levels: Sequence[float] = LEVELS,
        rank: int = 10,
        site: str | None = None,
        steps: int = 28,
        seed: int = 0,
        folder: Path | None = None,
    ) -> "Study":
        """Encode pictures one by one, for a study of them.

        Args:
            backbone: the model.
            pictures: files or open pictures.
            levels: in (0, 1], those above the model's highest become it.
            rank: of the local bases.
            site: None is the model's own choice.
            steps, seed, folder: as in the class.

        Raises:
            ConfigError: no level, levels outside (0, 1], an unknown site, or pictures that the model takes at different
                sizes.
        """
        top = backbone.grid(steps).levels[0]
        found = tuple(sorted({min(float(level), top) for level in levels}, reverse=True))
        if not found or found[-1] <= 0 or max(levels) > 1:
            shown = ", ".join(f"{level:g}" for level in levels) or "none"
            raise ConfigError(f"the levels are {shown}. Give some in (0, 1]")
        where = backbone.default_site if site is None else site
        FeatureMap(backbone=backbone, site=where, level=found[0], condition=backbone.embed([""]))  # refuses others
        latents = tuple(encode(backbone, picture, caption="") for picture in pictures)
        sizes = {tuple(latent.z.shape[1:]) for latent in latents}
        if len(sizes) > 1:
            shown = ", ".join("x".join(map(str, size)) for size in sorted(sizes))
            raise ConfigError(f"the pictures are of several sizes, their latents of {shown}. Crop them to one shape")
        return Study(
            backbone=backbone,
            latents=latents,
            levels=found,
            rank=rank,
            site=where,
            steps=steps,
            seed=seed,
            folder=folder,
        )

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything on which a measured row depends."""
        return {
            "model": self.backbone.name,
            "model_fingerprint": self.backbone.fingerprint,
            "pictures": [_identity(latent) for latent in self.latents],
            "levels": list(self.levels),
            "rank": self.rank,
            "site": self.site,
            "steps": self.steps,
            "seed": self.seed,
            "dtype": str(self.backbone.network_dtype).removeprefix("torch."),
        }

    def basis(self, picture: int, level: float, *, prompt: str = "", seed: int | None = None) -> LocalBasis:
        """The local basis of one picture at a level, read from the folder where it was computed before.

        Args:
            picture: its index.
            level: one of ``levels``, or another.
            prompt: text under which to look; the picture is inverted under none.
            seed: of the search; None is that of the study.
        """
        latent, draw = self.latents[picture], self.seed if seed is None else seed
        place = self._place(picture, level, prompt, draw)
        if place is not None and place.is_file():
            return self._stored(latent, place, level, prompt, draw)
        basis = local_basis(
            latent, site=self.site, rank=self.rank, level=level, prompt=prompt, steps=self.steps, seed=draw
        )
        if place is not None:
            place.parent.mkdir(parents=True, exist_ok=True)
            counts = {name: str(getattr(basis, name)) for name in _COUNTS}
            counts["converged"] = "yes" if basis.converged else "no"
            with written_beside(place) as file:
                file.write(pack({name: getattr(basis, name) for name in _TENSORS}, counts))
        return basis

    def _place(self, picture: int, level: float, prompt: str, seed: int) -> Path | None:
        if self.folder is None:
            return None
        about = [self.settings[name] for name in ("model_fingerprint", "site", "steps", "dtype")]
        which = [self.settings["pictures"][picture], level, prompt, self.rank, seed]
        digest = hashlib.sha256(json.dumps([*about, *which]).encode()).hexdigest()[:24]
        return self.folder / f"{digest}.safetensors"

    def _stored(self, latent: JointLatent, place: Path, level: float, prompt: str, seed: int) -> LocalBasis:
        tensors, counts = read_tensor_file(place, allowed=_TENSORS)
        with torch.no_grad():
            trace = invert(latent, latent.path(self.steps, level))
        fields: dict[str, Any] = {name: int(counts[name]) for name in _COUNTS}
        fields |= {name: tensors[name].to(latent.z.device) for name in _TENSORS}
        return LocalBasis(
            latent=latent,
            trace=trace,
            site=self.site,
            level=trace.levels[-1],
            prompt=prompt,
            condition=self.backbone.embed([prompt]),
            steps=self.steps,
            seed=seed,
            converged=counts["converged"] == "yes",
            **fields,
        )


def _identity(latent: JointLatent) -> str:
    """Which picture it is; of a bare latent, which numbers."""
    if latent.frames:
        return latent.frames[0].picture.fingerprint
    return hashlib.sha256(latent.z.detach().cpu().contiguous().numpy().tobytes()).hexdigest()[:16]
