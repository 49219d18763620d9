"""Pictures of the bundled models' own kind, for analyses to which nobody gave any."""

from collections.abc import Callable, Mapping

from PIL import Image

from latentedit.core.errors import ConfigError
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.pixels import draw_discs, shrink
from latentedit_portraits.render import render_array

_SEED = 11


def _portraits(count: int) -> list[Image.Image]:
    return [Image.fromarray(render_array(item, 128)) for item in draw_split("test", count, _SEED)]


def _small_portraits(count: int) -> list[Image.Image]:
    return [Image.fromarray(shrink(render_array(item, 128)[None])[0]) for item in draw_split("test", count, _SEED)]


def _discs(count: int) -> list[Image.Image]:
    return [Image.fromarray(picture) for picture in draw_discs(count, seed=_SEED)]


_SOURCES: Mapping[str, Callable[[int], list[Image.Image]]] = {
    "portraits": _portraits,
    "portraits-unet": _portraits,
    "pixels-portraits": _small_portraits,
    "pixels-discs": _discs,
}


def sample_pictures(model: str, count: int) -> list[Image.Image]:
    """Pictures that a bundled model has not been trained on; portraits are of the test split.

    Args:
        model: its name.
        count: how many.

    Raises:
        ConfigError: a model that is not bundled.
    """
    if model not in _SOURCES:
        raise ConfigError(f"expected pictures for the model {model!r}, which is not a bundled one. Name some pictures")
    return _SOURCES[model](count)
