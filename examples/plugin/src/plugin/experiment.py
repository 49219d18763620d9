"""An experiment: where it is measured, what is measured there, and the number that decides."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

from latentedit_bench.domains.base import Domain, Scene, load_domain
from latentedit_bench.experiments.decisions import Measure
from latentedit_bench.experiments.experiment import Context, Row, Source, Unit, experiment


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Walls(Source):
    """Scenes whose wall can turn black, without a model. The function takes the domain and a scene."""

    keys: ClassVar[tuple[str, ...]] = ("scene",)
    image_columns: ClassVar[tuple[str, ...]] = ("scene",)

    models: tuple[str, ...] = ()
    seed: int = 0
    images: int = 40

    def units(self, function: Callable[..., Any], context: Context) -> Sequence[Unit]:
        """The scenes."""
        scenes = load_domain("plugin-domain").draw("test", self.images, self.seed)
        return [scene for scene in scenes if "black" not in scene[1:]]

    def measure(self, function: Callable[..., Any], unit: Unit, context: Context) -> Iterable[Row]:
        """Rows name what they are of."""
        return [
            {"model": "plugin-domain", "scene": str(unit), **row}
            for row in function(load_domain("plugin-domain"), unit)
        ]


@experiment(
    "plugin-experiment",
    paper="Walls (arXiv 0000.00000)",
    claim="a black wall makes an image darker",
    source=Walls(),
    primary=Measure(name="mean level before less after, of 255", column="drop"),
    quick={"images": 12},
)
def brightness(domain: Domain, scene: Scene) -> Iterator[Row]:
    """Brightness is the mean of all channels."""
    before, after = domain.render(scene), domain.render(domain.change(scene, {"wall": "black"}))
    yield {"drop": float(before.mean()) - float(after.mean())}
