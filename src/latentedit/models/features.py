"""Inside a network: features at named sites, attention by layer, and the velocity with either of them changed."""

import abc
from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError, Hinted, nearest
from latentedit.models.capabilities import Capabilities
from latentedit.models.sites import GENERAL, IMAGE, AttentionFeatures, Site, giving, keeping, projections, read
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import clean_estimate


class Features(Hinted, abc.ABC):
    """The part of `Backbone` that looks inside its network, and changes what is there for one call."""

    name: str
    capabilities: Capabilities

    @abc.abstractmethod
    def decode(self, z: Float[Tensor, "b *latent"]) -> Float[Tensor, "b 3 h w"]:
        """Clean latents to images, about [-1, 1], not clipped."""

    @abc.abstractmethod
    def _checked(self, z: Tensor, s: Tensor, condition: Condition) -> Condition:
        """One text for each latent, after the checks of `velocity`; counts an evaluation of each."""

    @abc.abstractmethod
    def _velocity(
        self, z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b *latent"]:
        """The velocity; arguments are already checked."""

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of what `features` can give.

        First the network's own, in the order in which it computes them; then "velocity", "clean" (the clean estimate
        ``x_hat = z - s v``) and, with `Capabilities.pixels`, "image" (x_hat decoded).
        """
        return (*self._sites(), *GENERAL, *([IMAGE] if self.capabilities.pixels else []))

    @property
    def default_site(self) -> str:
        """Default site of local bases.

        "mid" where there is one, else the image stream of the middle block, else "clean".
        """
        # The h-space of U-Nets is where Kwon et al. and Park et al. take features. Transformers have no bottleneck.
        own = self._sites()
        images = [name for name in own if name.endswith(".image")]
        return "mid" if "mid" in own else images[len(images) // 2] if images else "clean"

    def features(
        self, z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"], condition: Condition, site: str
    ) -> Float[Tensor, "b *feature"]:
        """The feature of the network at one of `sites`, in the latents' dtype; differentiable in z.

        It counts a whole evaluation, although the forward pass stops at the site; "image" decodes as well.
        """
        self.check_name("site", site, self.sites)
        condition = self._checked(z, s, condition)
        own = self._sites()
        if site in own:
            tokens = self._image_tokens(z, condition)

            def feature(rows: slice | Tensor) -> Tensor:
                return read(own[site], site, lambda: self._velocity(z[rows], s[rows], condition[rows]), tokens)

            return self._by_call(condition, feature).to(z.dtype)
        v = self._velocity(z, s, condition)
        if site == "velocity":
            return v
        clean = clean_estimate(z, s, v)
        return self.decode(clean) if site == IMAGE else clean

    def velocity_with(
        self,
        z: Float[Tensor, "b *latent"],
        s: Float[Tensor, " b"],
        condition: Condition,
        site: str,
        shift: Float[Tensor, "b *feature"],
    ) -> Float[Tensor, "b *latent"]:
        """The velocity of the same network with ``shift`` added to its feature at a site.

        Args:
            site: one of `sites` inside the network, that is, not "velocity", "clean" or "image".
            shift: of the feature's shape, as `features` gives it; another shape is a `ShapeError`.
        """
        own = self._sites()
        self.check_name("site", site, own)
        condition = self._checked(z, s, condition)

        def velocity(rows: slice | Tensor) -> Tensor:
            with giving({site: own[site]}, {site: shift[rows]}, self._image_tokens(z, condition), added=True):
                return self._velocity(z[rows], s[rows], condition[rows])

        return self._by_call(condition, velocity)

    @property
    def attention_layers(self) -> tuple[str, ...]:
        """Names of the layers in which image tokens attend to each other, as the network runs them.

        Each has a "query", a "key" and a "value" of the tokens of the image and its references, before heads, norms
        and positions: ``f"{layer}.key"``. There are no names if these cannot be separated.
        """
        return tuple(self._attention())

    def velocity_keeping(
        self, z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"], condition: Condition, names: Sequence[str]
    ) -> tuple[Float[Tensor, "b *latent"], AttentionFeatures]:
        """The velocity, and queries, keys or values of the image tokens in the same forward pass, in its dtype.

        ``names`` are those to keep, such as "block.3.key"; see `attention_layers`.
        """
        sites = self._projections(names)
        condition = self._checked(z, s, condition)
        parts: list[dict[str, Tensor]] = []

        def kept(rows: slice | Tensor) -> Tensor:
            with keeping(sites, self._image_tokens(z, condition)) as features:
                v = self._velocity(z[rows], s[rows], condition[rows])
            parts.append(features)
            return v

        v = self._by_call(condition, kept)
        return v, {name: self._rejoined(condition, [part[name] for part in parts]) for name in sites}

    def velocity_given(
        self, z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"], condition: Condition, given: AttentionFeatures
    ) -> Float[Tensor, "b *latent"]:
        """The velocity of the same network with these queries, keys or values in place of its own.

        ``given`` has one an element, as `velocity_keeping` gives them for latents of this size; others are a
        `ShapeError`.
        """
        sites = self._projections(list(given))
        condition = self._checked(z, s, condition)

        def velocity(rows: slice | Tensor) -> Tensor:
            part = {name: feature[rows] for name, feature in given.items()}
            with giving(sites, part, self._image_tokens(z, condition)):
                return self._velocity(z[rows], s[rows], condition[rows])

        return self._by_call(condition, velocity)

    def _projections(self, names: Sequence[str]) -> dict[str, Site]:
        """The sites of these queries, keys and values."""
        sites = projections(self._attention())
        for name in names:
            self.check_name("attention", name, sites)
        return {name: sites[name] for name in names}

    def _attention(self) -> Mapping[str, Site]:
        """The attention modules of `attention_layers`, with ``to_q``, ``to_k`` and ``to_v``, by name."""
        return {}

    def _sites(self) -> Mapping[str, Site]:
        """The sites inside the network by name, in the order in which it computes them."""
        return {}

    def _calls(self, condition: Condition) -> Sequence[Tensor]:
        """Rows of each network call; empty if one call takes the batch."""
        return ()

    def _by_call(self, condition: Condition, predict: Callable[[slice | Tensor], Tensor]) -> Tensor:
        """The results of a function for the rows of each call, in the order of the batch."""
        return self._rejoined(condition, [predict(rows) for rows in self._calls(condition) or [slice(None)]])

    def _rejoined(self, condition: Condition, parts: Sequence[Tensor]) -> Tensor:
        """The results of the calls in the order of the batch."""
        calls = list(self._calls(condition))
        return torch.cat(list(parts))[torch.cat(calls).argsort()] if calls else parts[0]

    def _image_tokens(self, z: Float[Tensor, "b *latent"], condition: Condition) -> int:
        """Number of tokens of each latent and its references, for sites with text in their sequence."""
        return 0

    def check_name(self, kind: str, name: str, names: Collection[str]) -> None:
        """Raise a `ConfigError` with the nearest names for a site or attention that the model does not have."""
        if name not in names:
            hint = nearest(name, names) if names else "none can be reached inside its network"
            raise ConfigError(f"{self.name} has no {kind} {name!r} here: {hint}")
