"""The objects of an analysis: images in a model, levels, and local bases, each computed once and stored."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from latentedit import Backbone, JointLatent, LocalBasis, encode
from latentedit.core import atomic_file
from latentedit.encoding import ImageLike, InversionTrace, invert
from latentedit.geometry import TangentSpaces
from latentedit.models import FeatureJacobian, FeatureMap, GuidedField, Pooling
from latentedit.numerics import (
    EulerSolver,
    draw,
    dtype_name,
    integrate,
    pack_tensors,
    read_tensor_file,
    stream,
    truncated_svd,
)

Inversion = Literal["level", "top"]  # up to the level, or to the highest one and plainly back down, as in 2307.12868
# The rank at which bases are compared: after which the trained network's singular values fall most, or at which their
# squares are nearest to half of the sum of all, as in 2302.12469.
Ranks = Literal["gap", "energy"]
_TENSORS = ("u", "singular_values", "v", "residuals")
_COUNTS = ("iterations", "products", "evaluations")  # fields of a basis that are stored as whole numbers
_DEGREES = 1.0  # largest principal angle between the space found and the true one
_PRODUCTS, _OF_TWINS = 20, 10  # most products per rank: trained networks; untrained ones, whose spectra are flat
_OF_TANGENTS = 60  # most products in total if a search starts from the last one's result


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Study:
    """Images in one model, and the levels and settings of their analysis."""

    backbone: Backbone  # the model
    latents: tuple[JointLatent, ...]  # one per image, each without text
    levels: tuple[float, ...]  # descending
    rank: int = 10  # dimensions of the local bases
    site: str = ""  # the feature
    steps: int = 28  # steps on the model's whole grid
    seed: int = 0  # seed of every search and every draw
    folder: Path | None = None  # where bases are kept between runs; None keeps none
    pooling: Pooling = "none"  # pooling of the feature
    texts: tuple[str, ...] = ()  # one per image, under which its bases are computed; if empty, no text
    inversion: Inversion = "level"  # see `Inversion`
    ranks: Ranks = "gap"  # see `Ranks`
    trained: "Study | None" = None  # the study of the trained network, whose latents an untrained twin shares

    def __len__(self) -> int:
        return len(self.latents)

    @staticmethod
    def of(
        backbone: Backbone,  # the model
        images: Sequence[ImageLike],  # files or open images of one size
        *,
        levels: Sequence[float],  # in (0, 1], clipped to the model's highest
        site: str | None = None,  # None is the model's own choice
        steps: int = 28,  # see the class
        **settings: Any,  # other fields of the class
    ) -> "Study":
        """Encode images one by one, for a study of them."""
        top = backbone.grid(steps).levels[0]
        found = tuple(sorted({min(float(level), top) for level in levels}, reverse=True))
        where = backbone.default_site if site is None else site
        latents = tuple(encode(backbone, image, source_prompt="") for image in images)
        return Study(backbone=backbone, latents=latents, levels=found, site=where, steps=steps, **settings)

    def untrained(self, twin: Backbone) -> "Study":
        """The study of another network at the same latents: those to which this one carries the images."""
        return dataclasses.replace(self, backbone=twin, trained=self)

    def basis(self, image: int, level: float, *, prompt: str | None = None) -> LocalBasis:
        """The local basis of one image at a level, read from the folder if it was computed before.

        Each image has its own search, under its own text of `texts` unless a prompt is given. The trace holds only the
        latent at the level; see `walkable`.
        """
        if prompt is None:
            prompt = self.texts[image] if self.texts else ""
        place = self._place(image, level, prompt)
        latent = dataclasses.replace(self.latents[image], backbone=self.backbone)
        if place is not None and place.is_file():
            tensors, counts = read_tensor_file(place, allowed=(*_TENSORS, "top"))
        else:
            tensors, counts = self._search(image, level, prompt)
            if place is not None:
                place.parent.mkdir(parents=True, exist_ok=True)
                with atomic_file(place) as file:
                    file.write(pack_tensors(tensors, counts))
        on = latent.z.device
        fields: dict[str, Any] = {name: int(counts[name]) for name in _COUNTS}
        fields |= {name: tensors[name].to(on) for name in _TENSORS}
        fields |= {"site": self.site, "level": self._cut(level), "prompt": prompt, "steps": self.steps}
        return LocalBasis(
            latent=latent,
            trace=InversionTrace(levels=(self._cut(level),), states=(tensors["top"].to(on),), velocities=()),
            condition=self.backbone.embed([prompt]),
            seed=self.seed + image,
            converged=counts["converged"] == "yes",
            pooling=self.pooling,
            **fields,
        )

    def walkable(self, basis: LocalBasis) -> LocalBasis:
        """The same basis with the whole trace of its image, along which edits return."""
        with torch.no_grad():
            return dataclasses.replace(basis, trace=invert(basis.latent, basis.latent.path(self.steps, basis.level)))

    def noised(self, image: int, level: float) -> Tensor:
        """An image at a level with its own noise: ``(1 - s) x + s e``."""
        x = self.latents[image].z[0]
        return (1 - level) * x + level * draw(x.shape, seed=self.seed, purpose="curvedness", index=image).to(x)

    def feature(self, level: float, prompt: str = "") -> FeatureMap:
        """The feature at a level."""
        condition, level = self.backbone.embed([prompt]), self._cut(level)
        return FeatureMap(
            backbone=self.backbone, site=self.site, level=level, condition=condition, pooling=self.pooling
        )

    def tangent_spaces(self, level: float, rank: int, image: int) -> TangentSpaces:
        """The tangent spaces of the feature at a level; each image has its own random draws."""
        return TangentSpaces(
            feature=self.feature(level),
            rank=rank,
            draws=(self.seed, "curvedness bases", image),
            tolerance_degrees=_DEGREES,
            most_products=_OF_TANGENTS,
        )

    @torch.no_grad()
    def _search(self, image: int, level: float, prompt: str) -> tuple[dict[str, Tensor], dict[str, str]]:
        """A basis as it is stored: tensors, and numbers as text."""
        latent = self.latents[image] if self.trained is None else self.trained.latents[image]
        with latent.backbone.count() as way:
            z = self._carried(latent, level)
        with self.backbone.count() as cost:
            found = truncated_svd(
                FeatureJacobian(self.feature(level, prompt), z),
                self.rank,
                generator=stream(self.seed, "local basis", image),
                tolerance_degrees=_DEGREES,
                most_products=(_PRODUCTS if self.trained is None else _OF_TWINS) * self.rank,
            )
        counts = {name: str(getattr(found, name)) for name in ("iterations", "products")}
        counts |= {"evaluations": str(way.evaluations + cost.evaluations)}
        counts |= {"converged": "yes" if found.converged else "no"}
        return {name: getattr(found, name) for name in _TENSORS} | {"top": z}, counts

    def _carried(self, latent: JointLatent, level: float) -> Tensor:
        """An image's latent at a level."""
        trace = invert(latent, latent.path(self.steps, level if self.inversion == "level" else 1.0))
        down = [one for one in reversed(trace.levels) if one > level]
        field = GuidedField(backbone=latent.backbone, condition=latent.condition)
        return integrate(field, trace.top, [*down, self._cut(level)], EulerSolver())

    def _cut(self, level: float) -> float:
        """The level, or the model's highest if that is lower."""
        return min(level, self.backbone.grid(self.steps).levels[0])

    def _place(self, image: int, level: float, prompt: str) -> Path | None:
        """The file of a basis, named after everything it depends on."""
        if self.folder is None:
            return None
        about = [self.backbone.fingerprint, self.site, self.steps, dtype_name(self.backbone.network_dtype)]
        about += [self.pooling, self.inversion, level, prompt, self.rank, self.seed + image]
        numbers = self.latents[image].z.detach().cpu().contiguous().numpy().tobytes()
        return self.folder / f"{hashlib.sha256(json.dumps(about).encode() + numbers).hexdigest()[:24]}.safetensors"
