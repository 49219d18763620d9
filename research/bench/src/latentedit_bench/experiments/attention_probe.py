"""Does the attention of one attribute's words tell another attribute's value? A linear probe, of our own protocol."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from latentedit import Backbone
from latentedit.numerics import draw
from latentedit_bench.data.prepared import to_tensor
from latentedit_bench.domains.base import Domain, Scene, full_caption, load_domain, with_value
from latentedit_bench.domains.domain import Split
from latentedit_bench.experiments.declare import EIM_PAPER, Dots, Measure, ModelDifference, Rows, experiment
from latentedit_bench.experiments.experiment import Context, Row, Source, Unit
from latentedit_bench.experiments.items import loaded

WEIGHTS, VALUES = "weights", "values"
OWN, EARLIER, LATER = "own", "earlier", "later"
BOTH, CAPTION, IMAGE = "both", "caption", "image"
_SIDE = 8  # positions of a map of weights along each side, in every layer
_SIZE = 32  # images in one pass
_SEED = 6064  # no run before this plan used it; a quick run with 6063 preceded it
_DAMPINGS = 10.0 ** np.arange(-4, 2)  # damping of the linear classifier, in mean squares of the features
_NEAR = 0.6  # the share of values read that still counts as near chance, which is .5

Features = Float[Tensor, "_images phrases _width"]
"""A row for each phrase of a caption; images come in pairs that differ in one attribute."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Probed:
    """Traces of each phrase in attention, in pairs of images with two values of one attribute."""

    train: Mapping[tuple[str, str], Features]  # keys are the difference within a pair, and `WEIGHTS` or `VALUES`
    test: Mapping[tuple[str, str], Features]
    own: frozenset[int]  # the phrases that state the attribute


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pairs(Source):
    """Scenes, each with both values of `plain_changes` of an attribute. The function takes `Probed`."""

    keys: ClassVar[tuple[str, ...]] = ("attribute", "scene")
    image_columns: ClassVar[tuple[str, ...]] = ("scene",)
    quick: ClassVar[Mapping[str, Any]] = {"attributes": 3, "train": 24, "test": 12}

    seed: int = _SEED
    train: int = 32  # scenes of the calibration split
    test: int = 24  # scenes of the test split
    level: float = 0.5  # noise level of the images
    attributes: int = 6  # at most; of more, every second one, and so on

    def units(self, function: Callable[..., Any], context: Context) -> Sequence[Unit]:
        """Model and attribute."""
        del function
        names = {model: list(_domain(loaded(model, context)).plain_changes) for model in self.models}
        return [
            (model, name) for model in self.models for name in names[model][:: -(-len(names[model]) // self.attributes)]
        ]

    @torch.no_grad()
    def measure(self, function: Callable[..., Any], unit: Unit, context: Context) -> Iterable[Row]:
        """The rows of each scene of the test split."""
        model, attribute = loaded(str(unit[0]), context), str(unit[1])
        domain, found, own = _domain(model), list[Mapping[tuple[str, str], Features]](), set[int]()
        sizes: Mapping[Split, int] = {"calibration": self.train, "test": self.test}
        for split, count in sizes.items():
            drawn, values = domain.draw(split, count, self.seed), domain.plain_changes[attribute]
            scenes = [with_value(domain, one, attribute, value) for one in drawn for value in values]
            for first, second in zip(scenes[::2], scenes[1::2], strict=True):
                phrases = zip(domain.phrases(first), domain.phrases(second), strict=True)
                own |= {place for place, (old, new) in enumerate(phrases) if old != new}
            found.append(self._features(model, domain, scenes, f"attention probe/{attribute}/{split}"))
        for row in function(Probed(train=found[0], test=found[1], own=frozenset(own)), seed=self.seed):
            yield {"model": str(unit[0]), "attribute": attribute, **row}

    def _features(
        self, model: Backbone, domain: Domain, scenes: Sequence[Scene], purpose: str
    ) -> Mapping[tuple[str, str], Features]:
        """Features of all scenes, each under its full caption and with noise of its own."""
        parts: dict[tuple[str, str], list[Tensor]] = {}
        for start in range(0, len(scenes), _SIZE):
            some = scenes[start : start + _SIZE]
            first = [one for one in some[::2] for _ in range(2)]  # the first of each pair, twice
            z = model.encode(to_tensor([Image.fromarray(domain.render(one)) for one in some]).to(model.device))
            noise = [draw(z.shape[1:], seed=self.seed, purpose=purpose, index=start + i) for i in range(len(some))]
            same = z[::2].repeat_interleave(2, 0)
            for differ, shown, stated in ((BOTH, z, some), (CAPTION, same, some), (IMAGE, z, first)):
                x = (1 - self.level) * shown + self.level * torch.stack(noise).to(z)
                text = model.embed([full_caption(domain, one) for one in stated])
                with _Attention(text.tokens.shape[1]) as layers:
                    model.velocity(x, torch.full((len(x),), self.level).to(z), text)
                for index, scene in enumerate(stated):
                    spans = phrase_tokens(domain, scene)
                    weights = [torch.cat([layer[index, :, span].sum(1) for layer in layers.weights]) for span in spans]
                    values = [torch.cat([layer[index, span].mean(0) for layer in layers.values]) for span in spans]
                    parts.setdefault((differ, WEIGHTS), []).append(torch.stack(weights))
                    parts.setdefault((differ, VALUES), []).append(torch.stack(values))
        return {key: torch.stack(rows).double().cpu() for key, rows in parts.items()}


class _Attention(TorchFunctionMode):
    """Keeps, of each attention layer that sees text, the weights and the values of the text's tokens."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.weights: list[Float[Tensor, "b positions tokens"]] = []
        self.values: list[Float[Tensor, "b tokens width"]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is scaled_dot_product_attention:
            self._keep(*args[:3])
        return func(*args, **(kwargs or {}))

    def _keep(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        """Joint attention, which has the image first as in Stable Diffusion 3, or cross-attention to the text."""
        joint = query.shape[2] == key.shape[2]
        if key.shape[2] != self.tokens and not (joint and query.shape[2] == self.tokens + _SIDE**2):
            return
        shown = query[:, :, : -self.tokens] if joint else query
        weights = (shown @ key[:, :, -self.tokens :].mT * query.shape[3] ** -0.5).softmax(-1).mean(1)
        side = round(weights.shape[1] ** 0.5)
        maps = adaptive_avg_pool2d(weights.mT.unflatten(2, (side, side)), _SIDE)
        self.weights.append(maps.flatten(2).mT)
        self.values.append(value[:, :, -self.tokens :].transpose(1, 2).flatten(2))


def phrase_tokens(domain: Domain, scene: Scene) -> list[slice]:
    """The tokens of each phrase in the full caption of a scene, behind the one that begins the text.

    Text encoders of the bundled models have one token a word.
    """
    caption, spans, start = full_caption(domain, scene), list[slice](), 0
    for phrase in domain.phrases(scene):
        start = caption.index(phrase, start)
        first = 1 + len(domain.words(caption[:start]))
        start += len(phrase)
        spans.append(slice(first, 1 + len(domain.words(caption[:start]))))
    return spans


def linear_predictions(
    train: Float[np.ndarray, "n width"], labels: Float[np.ndarray, " n"], test: Float[np.ndarray, "m width"]
) -> Float[np.ndarray, " m"]:
    """Predictions of ridge regression on standardized features for labels of -1 and 1, equally many of each.

    The damping is the one with the smallest leave-one-out error on ``train``.
    """
    mean, scale = train.mean(0), train.std(0)
    scale = np.where(scale > 1e-9 * max(scale.max(), 1e-30), scale, np.inf)  # a feature that does not vary has no say
    train, test = (train - mean) / scale, (test - mean) / scale
    kernel = train @ train.T / max(train.shape[1], 1)
    size, basis = np.linalg.eigh(kernel)
    turned = basis.T @ labels

    def error(damping: float) -> float:
        kept = size / (size + damping)
        left_out = (labels - basis @ (kept * turned)) / (1 - (basis**2 * kept).sum(1))
        return float((left_out**2).mean())

    damping = min(_DAMPINGS, key=error)
    return test @ train.T / max(train.shape[1], 1) @ (basis @ (turned / (size + damping)))


_LEFT = Measure(
    name=f"{_NEAR:g} minus the share of values read from the attention of other attributes' words",
    column="below",
    where={"differ": BOTH, "what": WEIGHTS, "place": (EARLIER, LATER)},
)
_READ = _LEFT.variant("share of values read from the attention of other attributes' words", column="read")
_LIKE = "the same"


@experiment(
    "attention-probe",
    paper=EIM_PAPER,
    claim="the attention of one attribute's words does not tell the value of another attribute",
    source=Pairs(),
    primary=_LEFT,
    secondary=(
        _READ,
        _READ.variant(f"{_LIKE}, of the attribute's own words (control)", place=OWN),
        _READ.variant(f"{_LIKE}, labels of the training images shuffled (null)", column="null"),
        _READ.variant(f"{_LIKE}, image the same, captions differ", differ=CAPTION),
        _READ.variant(f"{_LIKE}, caption the same, images differ", differ=IMAGE),
        _READ.variant(f"{_LIKE}, caption the same, images differ, of the own words (control)", differ=IMAGE, place=OWN),
        _READ.variant(f"{_LIKE}, values of earlier words", what=VALUES, place=EARLIER),
        _READ.variant(f"{_LIKE}, values of later words", what=VALUES, place=LATER),
        _READ.variant(f"{_LIKE}, values of the own words (control)", what=VALUES, place=OWN),
        ModelDifference(measure=_READ, model="portraits-unet", baseline="portraits"),
    ),
    plots=(
        Dots(
            x="read", y="attribute", by="place", label="share of values read", where={"what": WEIGHTS, "differ": BOTH}
        ),
    ),
    minutes=3,
)
def attention_probe(probed: Probed, *, seed: int) -> Rows:
    """The paper's protocol is in no text available to us, so this one is ours; digests say "near .5" for transformers.

    Each scene is drawn with two values of an attribute; image and full caption agree, and noise is independent. A
    linear classifier learns from the attention of one phrase which of the two values it is, on scenes of the
    calibration split, and is tested on others of the test split, so .5 is chance. Attention is the share of each phrase
    among all text, at each of 8 x 8 places of the image, in every layer, averaged over heads: both kinds of networks
    have it. "Values" are what a layer hands on of the phrase's tokens. The claim holds for a model where the share of
    values read from other phrases is below .6. That counts only if the control, the attribute's own phrase, is read
    well (.8), and the null, trained with shuffled labels, is at .5. A difference between the two kinds of networks is
    one of two trainings. In the text encoders of both, later words have seen earlier ones, but not the reverse.
    """
    generator = np.random.default_rng(seed)
    for (differ, what), train in probed.train.items():
        labels = np.tile([-1.0, 1.0], len(train) // 2)
        shuffled = labels * generator.choice([-1.0, 1.0], len(train) // 2).repeat(2)
        test = probed.test[differ, what]
        for phrase in range(train.shape[1]):
            place = OWN if phrase in probed.own else EARLIER if phrase < min(probed.own) else LATER
            features = train[:, phrase].numpy(), test[:, phrase].numpy()
            read, null = (_shares(features[0], given, features[1]) for given in (labels, shuffled))
            about = {"phrase": phrase, "place": place, "differ": differ, "what": what}
            for scene, share in enumerate(read):
                yield {"scene": scene, **about, "read": share, "below": _NEAR - share, "null": null[scene]}


def _shares(
    train: Float[np.ndarray, "n width"], labels: Float[np.ndarray, " n"], test: Float[np.ndarray, "m width"]
) -> list[float]:
    """Share of values that are read, for each pair of test images; a prediction of 0 counts half."""
    right = linear_predictions(train, labels, test) * np.tile([-1.0, 1.0], len(test) // 2)
    return ((np.sign(right) + 1) / 2).reshape(-1, 2).mean(1).tolist()


def _domain(model: Backbone) -> Domain:
    return load_domain(model.defaults.get("captioner", "portraits"))
