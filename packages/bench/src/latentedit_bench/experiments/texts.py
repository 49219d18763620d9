"""Texts as the place of an experiment: captions of portraits, and changes of these."""

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
from latentedit_bench.domains.base import Domain, Scene, differences, domain, full_caption, with_value
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

    portraits: int = 96  # how many

    def units(self, function: Callable[..., Any], context: Context) -> Sequence[Unit]:
        """The models."""
        del function, context
        return [(name,) for name in self.models]

    @torch.no_grad()
    def measure(self, function: Callable[..., Any], unit: Unit, context: Context) -> Iterable[Row]:
        """A row a portrait."""
        world, model = domain("portraits"), loaded(str(unit[0]), context, torch.float32)
        drawn = enumerate(world.draw("test", self.portraits, self.seed))
        pairs = [caption_pairs(world, one, random.Random(f"text-directions/{self.seed}/{i}")) for i, one in drawn]
        text, sets = text_differences(model, world, pairs)
        for row in function(*sets):
            yield {"model": str(unit[0]), "text": text, **row}


def caption_pairs(world: Domain, portrait: Scene, generator: random.Random) -> Pairs:
    """Of one portrait, each attribute from its first value of `plain_changes`; random ones from the same caption."""
    ours, null = list[Pair](), list[Pair]()
    for name, (old, new) in world.plain_changes.items():
        source = with_value(world, portrait, name, old)
        said = full_caption(world, source)
        ours.append((said, full_caption(world, world.change(source, {name: new}))))
        tried = [(said, full_caption(world, _random_change(world, source, generator))) for _ in range(_TRIES)]
        wanted = changed_words(world, *ours[-1])
        null.append(min(tried, key=lambda pair: abs(changed_words(world, *pair) - wanted)))
    return ours, null


def text_differences(
    model: Backbone, world: Domain, pairs: Sequence[Pairs]
) -> tuple[str, list[Float[Tensor, "n attributes width"]]]:
    """The part of the text that decides, and its target less its source: of our changes, and of random ones."""
    parts: list[tuple[str, Tensor]] = []
    for which in (0, 1):
        every = [pair for portrait in pairs for pair in portrait[which]]
        change = model.embed([target for _, target in every]) - model.embed([source for source, _ in every])
        ends = torch.tensor([2 + max(len(world.words(caption)) for caption in pair) for pair in every])
        read = torch.arange(change.tokens.shape[1]) < ends[:, None]
        summed = (change.tokens.double().cpu() * read[..., None]).sum(1)
        pooled = change.pooled.double().cpu()
        name, rows = ("pooled", pooled) if pooled.shape[1] else ("tokens summed over places", summed)
        parts.append((name, rows.unflatten(0, (len(pairs), -1))))
    return parts[0][0], [rows for _, rows in parts]


def changed_words(world: Domain, source: str, target: str) -> int:
    """Places at which the words of two captions differ."""
    return sum(old != new for old, new in zip_longest(world.words(source), world.words(target)))


def _random_change(world: Domain, source: Scene, generator: random.Random) -> Scene:
    """One to three attributes at other values; a part and its own color never both."""
    able, parts = world.alternatives(source), world.part_of
    change: dict[str, str] = {}
    for name in generator.sample(list(able), generator.randint(1, 3)):
        if parts.get(name) not in change and name not in {parts.get(one) for one in change}:
            change[name] = generator.choice(able[name])
    return world.change(source, change)


def graded(world: Domain, own: Scene, counts: tuple[int, ...], *, seed: int) -> list[Scene]:
    """A scene, and others that differ from it in exactly so many attributes.

    Some attributes follow others, so draws that change more or less than asked are not taken. The first count is 0.
    """
    generator = random.Random(f"prompts/{seed}/{full_caption(world, own)}")
    values, shown = world.values, world.attributes(own)
    found = [own]
    for count in counts[1:]:
        while len(differences(world, found[-1], own)) != count:
            chosen = generator.sample(list(values), count)
            others = {name: [value for value in values[name] if value != shown[name]] for name in chosen}
            drawn = world.change(own, {name: generator.choice(some) for name, some in others.items()})
            if len(differences(world, drawn, own)) == count:
                found.append(drawn)
    return found


def asking_another(data: Dataset, seed: int) -> Dataset:
    """The same images, captions and answers, but that each target asks for another attribute that its caption names.

    Items whose caption names no other one are left out.
    """
    items = [_asking_another(item, random.Random(f"{seed}/{item.id}")) for item in data.items]
    return dataclasses.replace(data, name=f"{data.name}/another", items=tuple(item for item in items if item))


def _asking_another(item: Item, generator: random.Random) -> Item | None:
    image = item.image
    assert isinstance(image, Rendered)
    world = domain(image.world)
    asked = set(item.about["asked"].split(","))
    asked |= {name for pair in world.part_of.items() if asked & set(pair) for name in pair}  # one phrase says both
    able = {name: values for name, values in world.alternatives(image.scene).items() if name not in asked}
    for name in generator.sample(list(able), len(able)):
        target = _said_with(world, image, item.source_caption, {name: generator.choice(able[name])})
        if target is not None:
            return dataclasses.replace(item, target_caption=target)
    return None


def _said_with(world: Domain, image: Rendered, caption: str, change: Mapping[str, str]) -> str | None:
    """The caption with the phrases of a change in the place of what it says; None where it does not say all of it."""
    pairs = zip(world.phrases(image.scene), world.phrases(world.change(image.scene, change)), strict=True)
    for old, new in pairs:
        if old != new:
            if old not in caption:
                return None
            caption = caption.replace(old, new)
    return caption
