"""Whether x-space guidance keeps edits nearer to real pictures than plain addition does, at equal effect."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.editors.walks.latent_walk import LatentWalk
from latentedit_bench.domains.base import Domain, domain
from latentedit_bench.experiments.base import Row, Unit
from latentedit_bench.experiments.controls import Number, against_control
from latentedit_bench.experiments.geometry import COVERAGE, QUICK, RIEMANNIAN, Found, Geometry
from latentedit_bench.experiments.plotting import COLOURS, GREY, draw_column, finish
from latentedit_bench.experiments.signed_edits import NOT_REACHED, SignedEdit, random_units, signed_edits
from latentedit_bench.experiments.study import Study
from latentedit_bench.metrics.statistics import Table, by_level, estimate

KINDS = {"addition": "addition", "guidance": "x-space guidance", "random": "a random direction, added"}
"""How the picture was moved; all with the same effect."""

_COLOURS = dict(zip(KINDS, (COLOURS[0], COLOURS[1], GREY), strict=True))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Guidance(Geometry):
    """Rows of a picture at a level and a way to move it along the first direction of its basis.

    "off" is the distance of the edited picture to the real one that it shows: its attributes are read, the scene with
    these attributes is rendered, and the root mean square of the difference is taken over all pixels, in units in which
    [-1, 1] is all; mean of both signs, less the same of the picture as the model's codec returns it, unedited. So an
    edit that turns one portrait into another costs nothing, and what no portrait has does. All ways have the same
    effect on the clean latent, ``effect``. The control is a random direction that is added; "read" is the total
    variation of the attributes that were changed, summed, so that one can see what the equal effect bought.

    Args:
        effect: change of the clean latent, see `editors.walks.step_length`.
        repeats: of guidance.
    """

    name: ClassVar[str] = "geometry-guidance"
    minutes: ClassVar[int] = 14
    title: ClassVar[str] = "X-space guidance and addition: distance to real pictures"
    paper: ClassVar[str] = RIEMANNIAN
    statement: ClassVar[str] = "x-space guidance keeps an edited picture nearer to real ones than adding the direction"
    statistic: ClassVar[str] = (
        "distance of the edited picture to the render of the attributes that are read in it, less that of the unedited "
        "picture, root mean square of pixels in [-1, 1]: by addition less by x-space guidance, at equal effect, mean "
        "over levels"
    )
    notes: ClassVar[tuple[str, ...]] = (NOT_REACHED, COVERAGE)
    smaller: ClassVar[Mapping[str, Any]] = {**QUICK, "pictures": 2, "levels": (0.7,)}
    twins: ClassVar[bool] = False

    pictures: int = 12
    effect: float = 0.4
    repeats: int = 4

    @property
    def evaluations(self) -> int:
        """Of a picture at a level: the way up, eight ways back of each, and guidance before those of its own."""
        ways = round(sum(self.levels) * self.steps * (1 + 8 * len(KINDS)))
        return len(self.models) * self.pictures * (ways + 8 * 2 * self.repeats * len(self.levels))

    def items(self, study: Study) -> Sequence[Unit]:
        """A picture at a level.

        Raises:
            ConfigError: a model whose pictures no domain reads and renders.
        """
        _world(study)
        return Geometry.items(self, study)

    def look_at(self, study: Study, item: Unit) -> list[Row]:
        """The first direction there, moved along in each way."""
        picture, level = int(item[0]), float(item[1])
        basis = study.walkable(study.basis(picture, level))
        latent, world = basis.latent, _world(study)
        control = random_units(basis, 1, seed=study.seed, first=picture).to(basis.v)
        guided = LatentWalk(move="guidance", repeats=self.repeats)
        found: dict[str, SignedEdit] = dict(
            zip(
                ("addition", "random"),
                signed_edits(basis, torch.cat([basis.v[:1], control]), effect=self.effect),
                strict=True,
            )
        )
        (found["guidance"],) = signed_edits(basis, basis.v[:1], effect=self.effect, move=guided)
        with torch.no_grad():
            decoded = study.backbone.decode(latent.z)
        own = float(distance_to_render(world, decoded).mean())
        return [
            {
                "picture": picture,
                "level": level,
                "kind": kind,
                "off": float(distance_to_render(world, decoded + edit.change.to(decoded)).mean()) - own,
                "codec": own,
                "effect": edit.effect,
                "read": sum(edit.changes.values()),
            }
            for kind, edit in ((kind, found[kind]) for kind in KINDS)
        ]

    def of_model(self, part: Table) -> Found:
        """How much farther off addition is than guidance, over all levels and at each; and than random directions."""
        said, measure = self.statement, "distance to the render, root mean square of pixels"
        claims, parts = list[Number](), list[Table]()
        levels = sorted(set(part["level"]), reverse=True)
        chosen = {"all levels": part} | {f"level {level:.2f}": part[part["level"] == level] for level in levels}
        for place, rows in chosen.items():
            found = against_control(
                rows,
                "off",
                ("picture", "level"),
                lambda some: estimate(some["off"].tolist(), some[["picture"]].to_numpy().tolist()),
                said,
                f"{measure}, {place}",
                by="kind",
                names=("addition", "guidance"),
            )
            claims += found if place == "all levels" else found[:1]
        for kind in KINDS:
            rows = part[part["kind"] == kind]
            parts += [by_level(rows, column).assign(kind=kind, measure=column) for column in ("off", "read", "effect")]
        return claims, parts

    def draw_model(self, axes: Sequence[Axes], part: Table) -> None:
        """Over levels, a line a way."""
        for kind, label in KINDS.items():
            draw_column(axes[0], part[part["kind"] == kind], "off", label=label, colour=_COLOURS[kind])
        axes[0].axhline(0, color="#444444", linewidth=0.8)
        finish(axes[0], "distance to the render of what is read\nless that of the unedited picture, rms of pixels")


def distance_to_render(world: Domain, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
    """Root mean square over pixels of pictures less the renders of the scenes that are read in them.

    Args:
        world: reads and renders at the size of the pictures.
        pixels: in [-1, 1]; what lies beyond is cut.
    """
    shown = pixels.detach().clamp(-1, 1).cpu()
    renders = np.stack([world.render(scene) for scene in world.read(shown)])
    real = torch.from_numpy(renders).permute(0, 3, 1, 2).to(shown.dtype) / 127.5 - 1
    return (shown - real).square().flatten(1).mean(1).sqrt()


def _world(study: Study) -> Domain:
    """The domain that reads and renders what the model draws."""
    name = study.backbone.defaults.get("captioner")
    if name is None:
        raise ConfigError(f"nobody reads the pictures of {study.backbone.name}. Name a model with a captioner")
    return domain(str(name))
