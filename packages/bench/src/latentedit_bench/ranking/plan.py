"""Everything that decides a benchmark's rows."""

import dataclasses
from typing import Any

from latentedit._version import __version__
from latentedit.api.manifests.items import Dataset
from latentedit.core.errors import ConfigError
from latentedit.models.base import Backbone
from latentedit_bench.ranking.methods import Method

STRENGTHS = (0.5, 1.0, 1.5, 2.0)

BATCH = 32
"""Items that are edited together unless told: as many as memory allows is fastest."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """What is run; two runs whose plans are equal give equal rows.

    Args:
        model: what edits.
        dataset: what is edited.
        methods: by which.
        strengths: at which.
        seed: of every random number of the editors.
        batch: items that are edited together; more take more memory, and change rows by rounding at
            most: by nothing where the network rounds rows of small batches like those of large ones.
        beside: at strength 1 also take the off-manifold residual, and edit back.
    """

    model: Backbone
    dataset: Dataset
    methods: tuple[Method, ...]
    strengths: tuple[float, ...] = STRENGTHS
    seed: int = 0
    batch: int = BATCH
    beside: bool = True

    def __post_init__(self) -> None:
        names = [method.name for method in self.methods]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"expected one method or more, each once; got {', '.join(names) or 'none'}")
        if 1.0 not in self.strengths or 0.0 in self.strengths:
            raise ConfigError(f"expected strengths with 1 and without 0; got {', '.join(map(str, self.strengths))}")
        if self.batch < 1:
            raise ConfigError(f"expected a batch of 1 item or more; got {self.batch}")

    @property
    def told(self) -> dict[str, Any]:
        """The plan as plain values."""
        data = self.dataset
        return {
            "latentedit": __version__,
            "model": self.model.name,
            "model_fingerprint": self.model.fingerprint,
            "network_dtype": str(self.model.network_dtype).removeprefix("torch."),
            "data": {
                "name": data.name,
                "version": data.version,
                "items": len(data.items),
                "fingerprint": data.fingerprint,
            },
            "methods": [
                {"name": m.name, "editor": m.editor.name, "local": m.local, "settings": m.editor.to_dict()}
                for m in self.methods
            ],
            "strengths": list(self.strengths),
            "seed": self.seed,
            "batch": self.batch,
            "beside": self.beside,
        }
