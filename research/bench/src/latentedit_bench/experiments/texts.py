"""Requests beside those of a set: scenes that differ by a count of attributes, and changes of another attribute."""

import dataclasses
import random
from collections.abc import Mapping

from latentedit_bench.data.counterfactual import Rendered
from latentedit_bench.data.items import Dataset, Item
from latentedit_bench.domains.base import Domain, Scene, attribute_differences, full_caption, load_domain


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
