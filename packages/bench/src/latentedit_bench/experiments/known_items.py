"""What the experiments on items with known answers share: which items, which models, and what a plan takes."""

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from latentedit.api.manifests.items import Dataset
from latentedit.core.settings import to_plain
from latentedit.editors.base import Editor
from latentedit.editors.eim import EIM
from latentedit.editors.registry import make_editor
from latentedit.models.base import Backbone
from latentedit.models.placement import half_or_float32
from latentedit.models.registry import load
from latentedit_bench.data.counterfactual import counterfactual
from latentedit_bench.experiments.base import Context, Experiment
from latentedit_bench.experiments.claim import Claim
from latentedit_bench.metrics.statistics import Table, over_groups

PAPER = "EIM (arXiv 2411.08196)"

DOMAIN = "portraits"
"""Whose counterfactuals are the items."""

MODELS = ("portraits", "portraits-unet")
"""The bundled models of that domain: a transformer and a U-Net."""

PARTIAL = "partial"
FULL = "full"

CAPTIONS = (PARTIAL, FULL)
"""What captions say, see `data.counterfactual`."""

SEED = 20
"""Of every random number, unless a plan says otherwise: one that no run before these plans has used."""

RATE = 170
"""Network evaluations a second, by which plans tell their time: two cores, bfloat16."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The items of one model with one kind of captions.

    Args:
        model: a bundled name, or a folder.
        items: how many.
        captions: what they say.
        split: of the data.
    """

    model: str
    items: int
    captions: str = FULL
    split: str = "test"

    @property
    def name(self) -> str:
        """Of its rows and their folder."""
        return f"{Path(self.model).name}-{self.split}-{self.captions}"

    @property
    def about(self) -> dict[str, str]:
        """What its rows say of it."""
        return {
            "part": self.name,
            "model": Path(self.model).name,
            "captions": self.captions,
            "split": self.split,
        }

    def data(self, kinds: tuple[str, ...] = ()) -> Dataset:
        """The items; see `asking`."""
        return asking(self.split, self.items, kinds, captions=self.captions)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KnownItems(Experiment):
    """An experiment on counterfactual portraits.

    Args:
        models: bundled names, or folders.
        items: of the test split, by the first model.
        others: by every other model.
        seed: of every random number.
    """

    paper: ClassVar[str] = PAPER

    models: tuple[str, ...] = MODELS
    items: int = 192
    others: int = 64
    seed: int = SEED

    @property
    def model_names(self) -> Sequence[str]:
        """Every model."""
        return self.models

    @property
    def parts(self) -> tuple[Part, ...]:
        """Every model with partial and with full captions; later parts may need what earlier ones found."""
        return tuple(
            Part(model=model, captions=captions, items=self.others if place else self.items)
            for place, model in enumerate(self.models)
            for captions in CAPTIONS
        )

    @abc.abstractmethod
    def cost(self, part: Part) -> int:
        """Network evaluations that an item of a part takes, or at most takes."""

    def planned(self, **more: Any) -> Mapping[str, Any]:
        """The sizes, what else decides, and what it takes."""
        taken = sum(part.items * self.cost(part) for part in self.parts)
        told = f"about {taken}, that is {taken / RATE / 60:.1f} minutes at {RATE} a second"
        return {**to_plain(self), **more, "network evaluations": told}

    def claims(self, model: str, numbers: Mapping[str, Table], statement: str = "") -> tuple[Claim, ...]:
        """One for each measure, by its values of each item; see `over_groups`.

        Args:
            model: its name.
            numbers: measure to the values of items.
            statement: that is claimed; the paper's if none is given.
        """
        said = statement or self.statement
        return tuple(Claim.of(said, model, name, over_groups(values)) for name, values in numbers.items())


def asking(split: str, count: int, kinds: tuple[str, ...] = (), *, captions: str = FULL) -> Dataset:
    """The first items of a split that ask for a change, of some kinds or of all.

    Args:
        split: "calibration" or "test".
        count: of items, fewer where there are not as many.
        kinds: such as "single"; all where none are named.
        captions: see `data.counterfactual`.
    """
    data = counterfactual(DOMAIN, split, captions=captions)
    items = [item for item in data.items if item.about["asked"] and (not kinds or item.kind in kinds)]
    return dataclasses.replace(data, name=f"{data.name}/{'+'.join(kinds) or 'asking'}", items=tuple(items[:count]))


def loaded(name: str, at: Context, dtype: torch.dtype | None = None) -> Backbone:
    """A model, its network in `half_or_float32` where nothing else is asked for; one experiment asks for one dtype."""
    return at.once(("model", name), lambda: load(name, device=at.device, dtype=dtype or half_or_float32(at.device)))


def recommended(model: Backbone) -> EIM:
    """Encode, Identify, Manipulate with the settings that the model's folder recommends."""
    return as_eim(make_editor(EIM.name, model))


def as_eim(editor: Editor) -> EIM:
    """An editor by its settings, for experiments that vary those of Encode, Identify, Manipulate.

    Raises:
        ConfigError: settings of another editor.
    """
    return EIM.from_dict(to_plain(editor))


def of_models(rows: Table) -> dict[str, Table]:
    """The rows of each model by its name, in their order."""
    return {str(name): part for name, part in rows.groupby("model", sort=False)}
