"""The models of a page, each loaded when it is first used."""

from collections.abc import Callable, Mapping
from pathlib import Path

from latentedit.core.console import Progress
from latentedit.core.errors import RegistryError, nearest
from latentedit.models.base import Backbone
from latentedit.models.registry import bundled_folder, bundled_names


class Models:
    """Models by name. The page can choose only these names: no paths or hub ids."""

    def __init__(self, first: Backbone, others: Mapping[str, Callable[[], Backbone]] | None = None) -> None:
        self._loaded = {first.name: first}
        self._loaders = {name: load for name, load in (others or {}).items() if name != first.name}
        self.names = [first.name, *sorted(self._loaders)]

    def get(self, name: str, progress: Progress | None = None) -> Backbone:
        if name not in self.names:
            raise RegistryError(f"this page has no model {name!r}: {nearest(name, self.names)}")
        if name not in self._loaded:
            if progress is not None:
                progress("loading the model", 0, 1)
            self._loaded[name] = self._loaders[name]()
        return self._loaded[name]

    def examples(self) -> list[Path]:
        """Images in the folders "examples" of the models."""
        folders = [bundled_folder(name) / "examples" for name in self.names if name in bundled_names()]
        return [path for folder in folders for path in sorted(folder.glob("*.png"))]
