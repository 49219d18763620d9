"""Texts as the source of an experiment: captions of portraits and their changes."""

import dataclasses
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.models.base import Backbone
from latentedit_bench.data.counterfactual import Rendered
from latentedit_bench.data.items import Dataset, Item
from latentedit_bench.domains.base import Domain, Scene, attribute_differences, full_caption, load_domain, with_value
from latentedit_bench.experiments.experiment import Context, Row, Source, Unit
from latentedit_bench.experiments.items import loaded

_TRIES = 24  # random captions of a portrait, of which those that change as many words are taken
Pair = tuple[str, str]  # a full caption and another; both name all attributes in one order
Pairs = tuple[list[Pair], list[Pair]]  # captions of the changes of one portrait, one an attribute; and random ones


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Texts(Source):
    """Captions of portraits of the test split. The function takes two sets of `text_differences`."""

    keys: ClassVar[tuple[str, ...]] = ("portrait",)
    image_columns: ClassVar[tuple[str, ...]] = ("portrait",)
    quick: ClassVar[Mapping[str, Any]] = {"portraits": 16}

    portraits: int = 96  # number of portraits

    def units(self, function: Callable[..., Any], context: Context) -> Sequence[Unit]:
        """The models."""
        del function, context
        return [(name,) for name in self.models]

    @torch.no_grad()
    def measure(self, function: Callable[..., Any], unit: Unit, context: Context) -> Iterable[Row]:
        """One row per portrait."""
        domain, model = load_domain("portraits"), loaded(str(unit[0]), context, torch.float32)
        drawn = enumerate(domain.draw("test", self.portraits, self.seed))
        pairs = [caption_pairs(domain, one, random.Random(f"text-directions/{self.seed}/{i}")) for i, one in drawn]
        text, sets = text_differences(model, domain, pairs)
        for row in function(*sets):
            yield {"model": str(unit[0]), "text": text, **row}


def caption_pairs(domain: Domain, portrait: Scene, generator: random.Random) -> Pairs:
    """Of one portrait, each attribute from its first value of `plain_changes`; random ones from the same caption."""
    ours, null = list[Pair](), list[Pair]()
    for name, (old, new) in domain.plain_changes.items():
        source = with_value(domain, portrait, name, old)
        caption = full_caption(domain, source)
        ours.append((caption, full_caption(domain, domain.change(source, {name: new}))))
        tried = [(caption, full_caption(domain, _random_change(domain, source, generator))) for _ in range(_TRIES)]
        wanted = changed_words(domain, *ours[-1])
        null.append(min(tried, key=lambda pair: abs(changed_words(domain, *pair) - wanted)))
    return ours, null


def text_differences(
    model: Backbone, domain: Domain, pairs: Sequence[Pairs]
) -> tuple[str, list[Float[Tensor, "n attributes width"]]]:
    """The part of the text that decides, and its target less its source: of our changes, and of random ones."""
    parts: list[tuple[str, Tensor]] = []
    for which in (0, 1):
        every = [pair for portrait in pairs for pair in portrait[which]]
        change = model.embed([target for _, target in every]) - model.embed([source for source, _ in every])
        ends = torch.tensor([2 + max(len(domain.words(caption)) for caption in pair) for pair in every])
        read = torch.arange(change.tokens.shape[1]) < ends[:, None]
        summed = (change.tokens.double().cpu() * read[..., None]).sum(1)
        pooled = change.pooled.double().cpu()
        name, rows = ("pooled", pooled) if pooled.shape[1] else ("tokens summed over places", summed)
        parts.append((name, rows.unflatten(0, (len(pairs), -1))))
    return parts[0][0], [rows for _, rows in parts]


def changed_words(domain: Domain, source: str, target: str) -> int:
    """Number of words in which two captions differ."""
    return sum(old != new for old, new in zip_longest(domain.words(source), domain.words(target)))


def _random_change(domain: Domain, source: Scene, generator: random.Random) -> Scene:
    """One to three attributes at other values; a part and its own color never both."""
    able, parts = domain.alternatives(source), domain.part_of
    change: dict[str, str] = {}
    for name in generator.sample(list(able), generator.randint(1, 3)):
        if parts.get(name) not in change and name not in {parts.get(one) for one in change}:
            change[name] = generator.choice(able[name])
    return domain.change(source, change)


def graded(domain: Domain, own: Scene, counts: tuple[int, ...], *, seed: int) -> list[Scene]:
    """Scenes that differ from a scene in exactly `counts` attributes.

    Some attributes follow others, so draws that change more or less than that are rejected. The first count is 0.
    """
    generator = random.Random(f"prompts/{seed}/{full_caption(domain, own)}")
    values, shown = domain.values, domain.attributes(own)
    found = [own]
    for count in counts[1:]:
        while len(attribute_differences(domain, found[-1], own)) != count:
            chosen = generator.sample(list(values), count)
            others = {name: [value for value in values[name] if value != shown[name]] for name in chosen}
            drawn = domain.change(own, {name: generator.choice(some) for name, some in others.items()})
            if len(attribute_differences(domain, drawn, own)) == count:
                found.append(drawn)
    return found


def other_requests(data: Dataset, seed: int) -> Dataset:
    """The same images, captions and answers, but each target changes another attribute that its caption states.

    Items whose caption states no other attribute are left out.
    """
    items = [_other_request(item, random.Random(f"{seed}/{item.id}")) for item in data.items]
    return dataclasses.replace(data, name=f"{data.name}/another", items=tuple(item for item in items if item))


def _other_request(item: Item, generator: random.Random) -> Item | None:
    image = item.image
    assert isinstance(image, Rendered)
    domain = load_domain(image.domain)
    requested = set(item.about["requested"].split(","))
    # One phrase states a part and its color.
    requested |= {name for pair in domain.part_of.items() if requested & set(pair) for name in pair}
    able = {name: values for name, values in domain.alternatives(image.scene).items() if name not in requested}
    for name in generator.sample(list(able), len(able)):
        target = _restated(domain, image, item.source_caption, {name: generator.choice(able[name])})
        if target is not None:
            return dataclasses.replace(item, target_caption=target)
    return None


def _restated(domain: Domain, image: Rendered, caption: str, change: Mapping[str, str]) -> str | None:
    """The caption with the phrases of a change; None if it does not state all of them."""
    pairs = zip(domain.phrases(image.scene), domain.phrases(domain.change(image.scene, change)), strict=True)
    for old, new in pairs:
        if old != new:
            if old not in caption:
                return None
            caption = caption.replace(old, new)
    return caption
