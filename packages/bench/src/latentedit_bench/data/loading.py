"""A dataset from wherever it lies: which layout it has is seen from the file."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from latentedit.api.manifests.documents import read_yaml
from latentedit.api.manifests.items import Dataset
from latentedit.api.manifests.manifest import load_manifest
from latentedit.core.errors import ConfigError
from latentedit_bench.data.counterfactual import PREFIX, counterfactual
from latentedit_bench.data.flowedit_folder import is_flowedit, load_flowedit
from latentedit_bench.data.pie_bench_folder import MAPPING, load_pie_bench
from latentedit_keep.files import user_path

_READABLE = (
    f"{PREFIX}portraits, a folder with {MAPPING} (PIE-Bench), a .yaml file whose entries have target_prompts "
    "(FlowEdit), or a manifest ending in .csv, .json, .yaml or .yml"
)


def load_dataset(place: str | Path, *, split: str = "test", captions: str = "full") -> Dataset:
    """The rendered set by its name; else PIE-Bench's folder, FlowEdit's YAML file, or a manifest.

    Every picture of a folder or file is decoded once.
    """
    if str(place).startswith(PREFIX) and not Path(place).exists():
        return counterfactual(str(place).removeprefix(PREFIX), split, captions=captions)
    path = user_path(place, error=ConfigError)
    if path.is_dir() and (path / MAPPING).is_file():
        return load_pie_bench(path)
    if path.is_file() and path.suffix.lower() in (".csv", ".json", ".yaml", ".yml"):
        if path.suffix.lower() in (".yaml", ".yml") and is_flowedit(read_yaml(path)):
            return load_flowedit(path)
        return load_manifest(path)
    what = "a folder without it" if path.is_dir() else "another file" if path.exists() else "nothing that is there"
    raise ConfigError(f"{place} is {what}. Give {_READABLE}")


def taking_turns(datasets: Sequence[Dataset]) -> Dataset:
    """One of as many items, each from the next of some data sets that have the same items with other captions."""
    items = tuple(datasets[place % len(datasets)].items[place] for place in range(len(datasets[0].items)))
    return dataclasses.replace(datasets[0], name=" by turns with ".join(data.name for data in datasets), items=items)
