"""Places inside a network whose outputs are features: read on the way, or moved on the way."""

import dataclasses
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentedit.core.errors import ModelError, ShapeError

GENERAL = ("velocity", "clean")
"""Features that every model has: its velocity, and its clean estimate."""

PICTURE = "picture"
"""The decoded clean estimate, of models with a picture codec."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Site:
    """A place in a network whose output is a feature.

    Args:
        module: the module whose output it is; the network runs it once in a forward pass.
        item: which element of the module's tuple of outputs; None is the output itself.
        image: where the tokens of the picture and its references stand in a sequence that has text too; None is an
            output of one kind.
    """

    module: nn.Module
    item: int | None = None
    image: Literal["first", "last"] | None = None

    def tokens(self, count: int) -> slice:
        """The picture's tokens in the sequence, so many."""
        return slice(0, count) if self.image == "first" else slice(-count, None)


class _Reached(BaseException):  # not an Exception: no network code that catches those may swallow it
    """The forward pass came to the site; everything after it is not wanted."""

    def __init__(self, feature: Tensor) -> None:
        super().__init__()
        self.feature = feature


def read(site: Site, name: str, forward: Callable[[], object], tokens: int = 0) -> Float[Tensor, "b *feature"]:
    """The feature at a site, of a forward pass that stops there.

    Args:
        site: where.
        name: of the site, for messages.
        forward: runs the network; what it returns is not used.
        tokens: how many the picture has, for sites with text in their sequence.

    Raises:
        ModelError: a forward pass that never comes to the site.

    Cost:
        The network up to the site. The hook is removed whatever happens.
    """

    def stop(_module: nn.Module, _inputs: Any, output: Any) -> None:
        raise _Reached(_feature(site, output, tokens))

    handle = site.module.register_forward_hook(stop)
    try:
        forward()
    except _Reached as reached:
        return reached.feature
    finally:
        handle.remove()
    raise ModelError(f"the network does not run its module {name!r}. Choose another site")


@contextmanager
def shifted(site: Site, name: str, shift: Float[Tensor, "b *feature"], tokens: int = 0) -> Generator[None]:
    """Inside the context, the network goes on from its feature at the site plus a shift, cast to the feature's dtype.

    Raises:
        ShapeError: a shift of another shape than the feature.
    """

    def move(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        feature = _feature(site, output, tokens)
        if shift.shape != feature.shape:
            raise ShapeError(
                f"the shift does not fit the feature {name!r}, {list(feature.shape)}; got {list(shift.shape)}"
            )
        whole = output if site.item is None else output[site.item]
        moved = feature + shift.to(feature.dtype)
        if site.image is not None:
            moved = torch.slice_scatter(whole, moved, 1, *_bounds(site.tokens(tokens), whole.shape[1]))
        if site.item is None:
            return moved
        outputs = list(cast("tuple[Any, ...]", output))
        outputs[site.item] = moved
        return tuple(outputs)

    handle = site.module.register_forward_hook(move)
    try:
        yield
    finally:
        handle.remove()


def _feature(site: Site, output: Any, tokens: int) -> Tensor:
    whole: Tensor = output if site.item is None else output[site.item]
    return whole if site.image is None else whole[:, site.tokens(tokens)]


def _bounds(part: slice, length: int) -> tuple[int, int]:
    start, stop, _ = part.indices(length)
    return start, stop
