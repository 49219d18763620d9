"""Sites inside a network whose outputs are features: to read, shift, keep or replace in a forward pass."""

import dataclasses
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentedit.core.errors import ModelError, ShapeError
from latentedit.models.attention import uncompiled

GENERAL = ("velocity", "clean")
"""Features that every model has: its velocity, and its clean estimate."""

IMAGE = "image"
"""The decoded clean estimate, of models with an image codec."""

PROJECTIONS = {"query": "to_q", "key": "to_k", "value": "to_v"}
"""Projections of the image tokens in an attention layer, and their modules in diffusers."""

AttentionFeatures = Mapping[str, Float[Tensor, "b *feature"]]
"""Features of one pass by the names of their sites, such as "block.3.value"."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Site:
    """A module of a network whose output is a feature."""

    module: nn.Module  # the network runs it once in a forward pass
    item: int | None = None  # index in the module's tuple of outputs; None is the output itself
    image: Literal["first", "last"] | None = None  # place of the image and reference tokens in a sequence with text

    def tokens(self, count: int) -> slice:
        """The image tokens in the sequence, given their number."""
        return slice(0, count) if self.image == "first" else slice(-count, None)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """A list of similar blocks of a transformer, whose outputs ``[b, tokens, width]``, or parts of them, are sites."""

    name: str = "block"  # first part of a site's name, "block" in "block.3.image"
    modules: str = "transformer_blocks"  # attribute of the network
    text: int | None = None  # which of a block's outputs are the text's tokens; None has no site
    image: int | None = None  # which are the image's; None is the output itself
    joined: Literal["first", "last"] | None = None  # place of the image tokens in one sequence with the text
    attention: tuple[str, ...] = ()  # attribute of a block; a second one is its attention without text, "block.3.self"

    def sites(self, network: nn.Module) -> Iterator[tuple[str, Site]]:
        """Names and sites of the streams after each block; the last block of SD3 has no text."""
        for index, block in enumerate(getattr(network, self.modules)):
            if self.text is not None and not getattr(block, "context_pre_only", False):
                yield f"{self.name}.{index}.text", Site(module=block, item=self.text)
            joined = self.joined if self.image is None else None
            yield f"{self.name}.{index}.image", Site(module=block, item=self.image, image=joined)

    def layers(self, network: nn.Module) -> Iterator[tuple[str, Site]]:
        """Names and sites of the attention of each block."""
        for index, block in enumerate(getattr(network, self.modules)):
            for suffix, attribute in zip(("", ".self"), self.attention, strict=False):
                if (module := getattr(block, attribute, None)) is not None:
                    yield f"{self.name}.{index}{suffix}", Site(module=module, image=self.joined)


class _Reached(BaseException):  # not an Exception: no network code that catches those may swallow it
    """Ends a forward pass at the site."""


def read(site: Site, name: str, forward: Callable[[], object], tokens: int = 0) -> Float[Tensor, "b *feature"]:
    """The feature at a site; ``forward`` runs the network, which stops there."""
    features: dict[str, Tensor] = {}

    def stop(name: str, site: Site, output: Any) -> None:
        features[name] = _feature(site, output, tokens)
        raise _Reached

    with suppress(_Reached), _hooked({name: site}, stop):
        forward()
    return features[name]


def projections(attention: Mapping[str, Site]) -> dict[str, Site]:
    """Sites of the queries, keys and values of attention layers: "block.3" has "block.3.key" and so on."""
    return {
        f"{layer}.{what}": dataclasses.replace(site, module=getattr(site.module, linear))
        for layer, site in attention.items()
        for what, linear in PROJECTIONS.items()
    }


@contextmanager
def keeping(sites: Mapping[str, Site], tokens: int = 0) -> Generator[dict[str, Tensor]]:
    """Inside the context, one forward pass stores its features at sites in the dictionary that the context gives."""
    features: dict[str, Tensor] = {}

    def keep(name: str, site: Site, output: Any) -> None:
        features[name] = _feature(site, output, tokens)

    with _hooked(sites, keep):
        yield features


@contextmanager
def giving(
    sites: Mapping[str, Site], features: AttentionFeatures, tokens: int = 0, *, added: bool = False
) -> Generator[None]:
    """Inside the context, one forward pass continues from given features at sites, or from its own and these added."""

    def give(name: str, site: Site, output: Any) -> Any:
        own, feature = _feature(site, output, tokens), features[name]
        if feature.shape != own.shape:
            raise ShapeError(f"what is given at {name!r} is not {list(own.shape)}; got {list(feature.shape)}")
        return _replaced(site, output, own + feature.to(own.dtype) if added else feature.to(own), tokens)

    with _hooked(sites, give):
        yield


@contextmanager
def _hooked(sites: Mapping[str, Site], at: Callable[[str, Site, Any], Any]) -> Generator[None]:
    """Inside the context, each module's output goes through ``at(name, site, output)``, once."""
    reached: set[str] = set()

    def hook(name: str, site: Site) -> Callable[[Any], Any]:
        def reach(output: Any) -> Any:
            # A layer that runs twice would keep or receive the feature of the wrong pass.
            if name in reached:
                raise ModelError(f"the network runs its module {name!r} more than once in a pass. Choose another layer")
            reached.add(name)
            return at(name, site, output)

        return reach

    with ExitStack() as hooks:
        for name, site in sites.items():
            hooks.enter_context(_outputs_through(site.module, hook(name, site)))
        yield
    if missed := sorted(sites.keys() - reached):
        raise ModelError(f"the network does not run its module {missed[0]!r}. Choose another site, or undo a fusion")


@contextmanager
def _outputs_through(module: nn.Module, change: Callable[[Any], Any]) -> Generator[None]:
    """Inside the context, a function changes a module's outputs in this thread; None leaves them as they are.

    Other threads may run the same network meanwhile. A compiled network runs eagerly.
    """
    ours = threading.get_ident()

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        return change(output) if threading.get_ident() == ours else None

    with module.register_forward_hook(hook), uncompiled():
        yield


def _replaced(site: Site, output: Any, feature: Tensor, tokens: int) -> Any:
    """The module's output with another feature at the site."""
    if site.image is not None:
        sequence = output if site.item is None else output[site.item]
        feature = torch.slice_scatter(sequence, feature, 1, *site.tokens(tokens).indices(sequence.shape[1])[:2])
    if site.item is None:
        return feature
    outputs = list(cast("tuple[Any, ...]", output))
    outputs[site.item] = feature
    return tuple(outputs)


def _feature(site: Site, output: Any, tokens: int) -> Tensor:
    sequence: Tensor = output if site.item is None else output[site.item]
    return sequence if site.image is None else sequence[:, site.tokens(tokens)]
