"""The models that a page offers, each loaded when it is first asked for; one task at a time works with them."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from latentedit.core.errors import RegistryError, nearest
from latentedit.models.base import Backbone
from latentedit.models.registry import bundled_folder, bundled_names


class Models:
    """Models by name, shared by all visitors of a page.

    A visitor chooses among these names and nothing else: no path, and no id of a hub.

    Args:
        first: of the page, loaded already.
        others: what loads each of the other models.
    """

    def __init__(self, first: Backbone, others: Mapping[str, Callable[[], Backbone]] | None = None) -> None:
        self.working = threading.Lock()
        """Held by the one task that computes."""
        self._loaded = {first.name: first}
        self._loaders = {name: load for name, load in (others or {}).items() if name != first.name}
        self.names = [first.name, *sorted(self._loaders)]
        """The first model, then the others."""

    def get(self, name: str) -> Backbone:
        """The model of a name.

        Raises:
            RegistryError: a name that is not offered.
            LatentEditError: see `latentedit.load`.
        """
        if name not in self.names:
            raise RegistryError(f"the page offers no model that is called {name!r}: {nearest(name, self.names)}")
        if name not in self._loaded:
            self._loaded[name] = self._loaders[name]()
        return self._loaded[name]

    def examples(self) -> list[Path]:
        """Pictures that the offered models carry in their folder "examples"."""
        folders = [bundled_folder(name) / "examples" for name in self.names if name in bundled_names()]
        return [path for folder in folders for path in sorted(folder.glob("*.png"))]
