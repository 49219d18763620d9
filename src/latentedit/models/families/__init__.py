"""Table of the model families that have an adapter."""

import dataclasses

from latentedit.core.plugins import BACKBONES
from latentedit.models.base import Backbone

UNTRIED = (
    "Tested on miniatures with random weights against the stock pipelines; none was run with real weights. Licenses "
    "are as known in November 2026, some from memory: the model's card decides."
)


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
    groups: dict[str, dict[str, type]] = {}
    for network in BACKBONES.names():
        adapter = BACKBONES.load(network)
        name = getattr(adapter, "family", "") or adapter.__name__.removesuffix("Backbone")
        groups.setdefault(name, {})[network] = adapter
    return [
        Family(
            name=name,
            adapters=tuple(sorted({f"{adapter.__module__}.{adapter.__name__}" for adapter in group.values()})),
            networks=tuple(sorted(group)),
            license=getattr(first := next(iter(group.values())), "license", Backbone.license),
            multiple_px=getattr(first, "multiple_px", Backbone.multiple_px),
        )
        for name, group in sorted(groups.items(), key=lambda item: item[0].lower())
    ]
