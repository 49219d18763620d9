"""The contract of a model: one velocity field in flow coordinates, with an image codec and a text encoder."""

import abc
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NoReturn, Self, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError, CoordinateError, DeviceError, ShapeError
from latentedit.models.capabilities import Capabilities
from latentedit.models.features import Features
from latentedit.numerics.condition import Condition
from latentedit.numerics.cost import Count, counting, spend
from latentedit.numerics.device import plain_default
from latentedit.numerics.flow import LevelGrid

T = TypeVar("T")

Text = str | tuple[str, ...]
"""A text for all text encoders, or one for each of `Backbone.text_readers`."""


def is_pipeline(model: object) -> bool:
    """Whether this is a live pipeline of diffusers."""
    return hasattr(type(model), "components")


def check_model(model: object) -> "Backbone":
    """Refuse what is no backbone, a pipeline or a name, with the call that makes one."""
    if isinstance(model, Backbone):
        return model
    if isinstance(model, str):
        shown, call = repr(model), f"latentedit.load({model!r})"
    else:
        shown = type(model).__name__
        call = "latentedit.from_pipeline(pipeline)" if is_pipeline(model) else "a name, or latentedit.load(name)"
    raise ConfigError(f"`model` must be a model; got {shown}. Give {call}")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TextReader:
    """A text encoder that drops the end of long texts: its name, the tokens that it reads, whether it reads a text."""

    name: str
    room: int
    reads: Callable[[str], bool]


class DetachedModel:
    """Stands for the model in what was pickled or detached: its name, and an error that says what to do instead."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, attribute: str) -> NoReturn:
        # copy, pickle and notebooks probe for special methods; an AttributeError means that there is none.
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        raise ConfigError(
            f"this was detached from its model {self.name!r}, which {attribute!r} needs. Load the model, and edit the "
            "image of the result"
        )


class Backbone(Features):
    """A diffusion model as a velocity field ``v(z, s, c) = E[e - x | z, c]`` on ``z = (1 - s) x + s e``.

    Laws:
        1. ``velocity`` of a batch equals the velocities of its elements, each alone.
        2. ``velocity`` is a pure function: the same arguments give the same result, whatever was called before.
        3. A call of ``velocity`` adds the number of its elements to every open ``count()``.
        4. ``velocity`` refuses shapes, devices and levels that do not fit, by name.
        5. ``embed(texts)[i]`` equals ``embed([texts[i]])``.
        6. ``embed`` and ``velocity`` leave the global random state as it was.
        7. ``null(c)`` has the length, references and embedded guidance of c; of ``embed(texts)`` it is the empty text.
        8. ``features`` and ``velocity_with`` leave the network as it was, errors included; so do ``velocity_keeping``
           and ``velocity_given``.
        9. ``velocity_keeping`` gives the bits of ``velocity``, and so does ``velocity_given`` with what it kept.

    Subclasses write the private hooks; the public methods here validate and count. All that evaluate the network take
    z, s and condition as `velocity` does, raise what it raises, and cost one evaluation an element. An unknown site or
    name of attention is a `ConfigError` with the nearest ones.
    """

    defaults: Mapping[str, Any] = MappingProxyType({})
    """Recommended settings (``latentedit.json``): those of "editors" by name, the "captioner", ..."""

    revision: str | None = None
    """Commit of the hub repository that the weights come from; None for weights from elsewhere."""

    family: ClassVar[str] = ""
    """Name of the models that the adapter is for; without one, that of the class."""

    license: ClassVar[str] = "see the model's card"
    """Of the published weights, as read in 2026."""

    multiple_px: ClassVar[int] = 0
    """What image sides are multiples of with the published autoencoder; 0 where that differs from model to model."""

    denoiser: ClassVar[str] = "transformer"
    """Name of the part of a pipeline that predicts the velocity or noise."""

    reads_text: bool = True
    """Texts change the velocity; other models move images along directions only."""

    parts: ClassVar[tuple[str, ...]] = ()
    """Parts of a diffusers pipeline that the adapter uses, the denoiser among them, besides the scheduler."""

    pipelines: ClassVar[tuple[str, ...]] = ()
    """Stock pipelines of the family, which embed text, the most general one first; without any, a pipeline of whatever
    class is passed to the constructor as it is."""

    half: ClassVar[torch.dtype] = torch.bfloat16
    """The half precision that the family was published for."""

    published: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})
    """Settings of editors, by name, that their papers published for the family; a folder's own "editors" come first."""

    _guided: Callable[[Tensor, Tensor, Condition, Condition, float], Tensor] | None = None  # see `velocity_guided`

    _known: dict[str, Any] | None = None  # values that `once` keeps

    _inner: ClassVar[frozenset[str]] = frozenset(("count", "once", "unchanged", "velocity", "velocity_guided"))

    optional_parts: ClassVar[frozenset[str]] = frozenset()
    """Parts that may be null in ``model_index.json``, all of them or none."""

    def __init__(self, *, name: str, fingerprint: str, capabilities: Capabilities) -> None:
        self.name = name
        self._fingerprint = fingerprint
        self.capabilities = capabilities
        self._most_rows: dict[tuple[int, ...], int] = {}
        self._tested, self._tested_layers = dict[tuple[str, str], str](), None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} on {self.device}>"

    def __call__(self, *_: object, **__: object) -> NoReturn:
        raise ConfigError("a model is not called. Give it to latentedit.edit(model, image, prompt)")

    def __reduce__(self) -> tuple[type[DetachedModel], tuple[str]]:
        """A pickle has no networks, so that of a result stays small."""
        return DetachedModel, (self.name,)

    def __deepcopy__(self, memo: object) -> Self:
        return self  # a copied result goes on with the same model

    __copy__ = functools.partialmethod(__deepcopy__, None)

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "type[Backbone]":
        """The class for a denoiser of a configuration; raises a `ModelError` for one that is not supported."""
        return cls

    @classmethod
    def stock_class(cls, kinds: Sequence[str], parts: Mapping[str, Any]) -> str:
        """Which of `pipelines` is meant by the names of a class and its bases, or by the parts that the pipeline has.

        FluxKontext is meant by FluxKontextInpaint.
        """
        stems = {name.removesuffix("Pipeline"): name for name in cls.pipelines}
        meant = [stem for stem in stems if any(kind.startswith(stem) for kind in kinds)]
        return stems[max(meant, key=len)] if meant else (cls.pipelines or kinds)[0]

    @property
    def fingerprint(self) -> str:
        """Fingerprint of weights and configuration; for a live pipeline, of their present state."""
        return self.once("fingerprint", self._identity)

    @contextlib.contextmanager
    def unchanged(self) -> Generator[None]:
        """The user changes nothing in here, so that `once` computes each value a single time; see `plain_default`."""
        if self._known is not None:  # inside of another one
            yield
            return
        self._known = {}
        try:
            with plain_default():
                yield
        finally:
            self._known = None

    def once(self, name: str, compute: Callable[[], T]) -> T:
        """A value that follows from weights and stored settings; computed once inside of `unchanged`."""
        if self._known is None:
            return compute()
        if name not in self._known:
            self._known[name] = compute()
        return self._known[name]

    @property
    def tested_derivatives(self) -> dict[tuple[str, str], str]:
        """Faults of kinds of derivatives at sites, or "", as found by `derivatives.Trial` with the present layers."""
        layers = self.once("layers", self._layers)
        if layers != self._tested_layers:
            able = self.capabilities.derivatives | {kind for (kind, _), fault in self._tested.items() if fault}
            self.capabilities = dataclasses.replace(self.capabilities, derivatives=able)
            self._tested, self._tested_layers = {}, layers
        return self._tested

    def _layers(self) -> Any:
        """State besides numbers that derivatives depend on: their test is repeated when it changes."""
        return None

    @fingerprint.setter
    def fingerprint(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint

    def _identity(self) -> str:
        return self._fingerprint

    @property
    def encoders(self) -> str:
        """Fingerprint of the parts of a live pipeline that encode texts and images: weights and dtypes."""
        return ""

    @property
    @abc.abstractmethod
    def device(self) -> torch.device:
        """Device of the network."""

    @property
    @abc.abstractmethod
    def dtype(self) -> torch.dtype:
        """The dtype of latents that the backbone returns; coordinates are computed in it (float32 or float64)."""

    @property
    def network_dtype(self) -> torch.dtype:
        """The dtype of the network."""
        return self.dtype

    @property
    def compute_dtype(self) -> torch.dtype:
        """The coarsest dtype in which the network computes, which steps of finite differences go by.

        A network in float64 counts as float32 unless its adapter says that it is float64 throughout: most transformers
        round their norms and rotary positions to float32.
        """
        return torch.float32 if self.network_dtype == torch.float64 else self.network_dtype

    def count(self) -> contextlib.AbstractContextManager[Count]:
        """Count network evaluations: ``with model.count() as cost: ...``, then ``cost.evaluations``.

        Guidance counts two, a derivative product two in every mode. Contexts nest. A context counts the evaluations of
        its own thread, so threads can share a model.
        """
        return counting(self)

    @abc.abstractmethod
    def latent_shape(self, height_px: int, width_px: int) -> tuple[int, ...]:
        """Shape of one latent for an image of this size, without the batch."""

    def check_shape(self, z: Tensor) -> None:
        """Raise a `ShapeError` for a batch that cannot be latents of this model; most networks raise one themselves."""

    @abc.abstractmethod
    def grid(self, steps: int, *, height_px: int = 0, width_px: int = 0) -> LevelGrid:
        """The model's own levels, falling from where its sampler starts, ``s_max`` or below, to the clean end.

        The last level may be below ``s_min``: solvers do not evaluate the velocity at the level where they arrive.

        Args:
            steps: number of solver steps, at least 1.
            height_px: height of the image, for schedules that depend on it; 0 is the preferred size.
            width_px: its width.
        """

    def velocity(
        self, z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b *latent"]:
        """The velocity ``E[e - x | z, c]``.

        Where the condition has an image guidance t, the velocity ``v(z, s, c) + t (v(z, s, c, I) - v(z, s, c))`` with
        and without its reference images I, in float32 or better. So each branch of `GuidedField` has it, and the text's
        weight w multiplies what is left: ``(1 - w) v_t(n) + w v_t(c)``, affine in both weights and in any order.

        Args:
            z: canonical latents.
            s: level of each element, in ``[capabilities.s_min, capabilities.s_max]``; always one a latent.
            condition: one text a latent, or a single one for all.

        Raises:
            ShapeError: levels or conditions that do not match the batch.
            DeviceError: tensors on another device than the network.
            CoordinateError: a level outside the range.
            torch.OutOfMemoryError: too little memory for one of them; a larger batch goes in parts.

        Cost:
            One evaluation an element; two with image guidance.

        Source:
            Brooks et al. 2022, arXiv 2211.09800, eq. 3, which has no product of the weights: its difference of texts
            sees the image at weight 1. It is less by ``w (t - 1) [v(c, I) - v(c) - v(n, I) + v(n)]``.
        """
        if (weight := condition.image_guidance) is not None:
            parts = (self.velocity(z, s, one) for one in (condition.words, condition.guided_by_image(None)))
            without, seen = (v.to(torch.promote_types(v.dtype, torch.float32)) for v in parts)
            return (without + weight * (seen - without)).to(z.dtype)
        condition, shape = self._checked(z, s, condition), tuple(z.shape[1:])
        parts, start = list[Tensor](), 0
        while start < len(z) or not parts:  # an empty batch is a call, too
            most = min(self._most_rows.get(shape, len(z)), len(z))  # rows for which there is memory
            rows = slice(start, start + most)
            try:
                if most == len(z):
                    return self._velocity(z, s, condition)
                parts.append(self._velocity(z[rows], s[rows], condition[rows]))
            except torch.OutOfMemoryError:
                if most <= 1:
                    raise
                # Kept, since every attempt that fails costs a forward pass; by shape, as memory grows with the image.
                self._most_rows[shape] = (most + 1) // 2
            else:
                start = rows.stop
        return torch.cat(parts)

    def velocity_guided(
        self, z: Tensor, s: Tensor, condition: Condition, unconditional: Condition, guidance: float
    ) -> Float[Tensor, "b *latent"] | None:
        """The guided velocity where both branches are one call (two evaluations an element), else None."""
        if self._guided is None or condition.image_guidance is not None:
            return None
        condition, unconditional = self._checked(z, s, condition), self._checked(z, s, unconditional)
        return self._guided(z, s, condition, unconditional, guidance)

    def _checked(self, z: Tensor, s: Tensor, condition: Condition) -> Condition:
        """One text for each latent, after the checks of `velocity`; counts an evaluation of each."""
        if s.shape != (len(z),):
            raise ShapeError(f"levels s of shape {list(s.shape)} do not fit {len(z)} latents. Give one each")
        if z.device.type != self.device.type or s.device != z.device:
            raise DeviceError(f"z and s must be on {self.device}; got {z.device} and {s.device}. Move them with .to()")
        low, high = self.capabilities.s_min, self.capabilities.s_max
        # Rounding of a level to float32 may leave the range.
        if not bool(((s >= low - 1e-6) & (s <= high + 1e-6)).all()):
            raise CoordinateError(
                f"levels s must lie in [{low:.4g}, {high:.4g}] for {self.name}; got {s.min():.4g} to {s.max():.4g}"
            )
        if condition.image_guidance is not None:
            raise ConfigError("image guidance changes velocities, not what is read inside a network. Leave it at 1")
        condition = condition.expand(len(z))
        spend(self, len(z))
        return condition

    @abc.abstractmethod
    def embed(self, texts: Sequence[str]) -> Condition:
        """Texts as conditions; the empty text is the unconditional one. With `text_readers` each may be a `Text`."""

    def null(self, like: Condition) -> Condition:
        """The unconditional text, from which guidance starts: one element, or one for each with reference images.

        It has the number of tokens, the reference images and the embedded guidance of the condition.

        Raises:
            ShapeError: a model that embeds the empty text to another number of tokens.
        """
        null = self._null(like) if like.reference is None else self._null(like).expand(len(like))
        if null.tokens.shape[1:] != like.tokens.shape[1:] or null.pooled.shape[1:] != like.pooled.shape[1:]:
            raise ShapeError(
                f"the unconditional text of {self.name} has tokens {list(null.tokens.shape)} and pooled "
                f"{list(null.pooled.shape)}, this condition {list(like.tokens.shape)} and {list(like.pooled.shape)}. "
                "Embed the text with this model"
            )
        return dataclasses.replace(
            null,
            reference=like.reference,
            guidance=like.guidance,
            arrival=like.arrival,
            image_guidance=like.image_guidance,
        )

    def _null(self, like: Condition) -> Condition:
        """The unconditional text, one for all: the empty text, unless a model has another."""
        return self.embed([""])

    @abc.abstractmethod
    def encode(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b *latent"]:
        """Images in [-1, 1] to clean latents (the mode of the posterior), normalized for the network."""

    @abc.abstractmethod
    def decode(self, z: Float[Tensor, "b *latent"]) -> Float[Tensor, "b 3 h w"]:
        """Clean latents to images, about [-1, 1], not clipped."""

    def caption_notes(self, texts: Sequence[str]) -> list[str]:
        """Notes for the user about captions, other than on `unseen_words`."""
        return []

    @property
    def text_readers(self) -> Sequence[TextReader]:
        """The text encoders that take a text of their own, in the order of these; none where all texts are read."""
        return ()

    def unseen_words(self, text: str) -> list[str]:
        """The words of a caption that never occurred in training, as far as that is known."""
        return []

    def draw_start(self, shape: Sequence[int], *, generator: torch.Generator) -> Float[Tensor, "b *latent"]:
        """Starting latents of sampling, ``N(0, start_std^2)``, drawn in float32 on the generator's device.

        One CPU generator gives the same latents on every device.
        """
        # Drawn before it is moved: generators of different devices give different numbers.
        noise = torch.randn(tuple(shape), generator=generator, dtype=torch.float32, device=generator.device)
        return (self.capabilities.start_std * noise).to(self.device, self.dtype)
