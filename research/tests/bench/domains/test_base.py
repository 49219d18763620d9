"""The laws of a domain, checked on ours, and sample images for the bundled models."""

import random

import numpy as np
import pytest

from latentedit.core import ConfigError, RegistryError
from latentedit.models import bundled_names
from latentedit_bench.domains.base import (
    Domain,
    attribute_differences,
    full_caption,
    load_domain,
    sample_images,
    scalable,
    with_value,
)
from latentedit_drawn.domain import PORTRAITS
from latentedit_portraits.domains import NONE, AttributeDomain
from latentedit_scenes.domain import SCENES
from research.tests.bench.conftest import Register

ours = pytest.mark.parametrize("domain", [PORTRAITS, SCENES], ids=lambda domain: domain.name)


@ours
def test_a_domain_is_found_by_name(domain: AttributeDomain) -> None:
    assert load_domain(domain.name) is scalable(domain.name) is domain
    assert isinstance(domain, Domain)


def test_unknown_and_incomplete_domains_are_refused(register: Register) -> None:
    with pytest.raises(RegistryError):
        load_domain("portrait")
    with pytest.raises(ConfigError):
        sample_images("elsewhere", 2, seed=20)
    register("domains", nothing="builtins:object")
    with pytest.raises(RegistryError, match="alternatives"):
        load_domain("nothing")


@pytest.mark.slow_except("scenes")
@ours
def test_every_alternative_changes_one_phrase_and_at_most_what_depends_on_it(domain: AttributeDomain) -> None:
    for scene in domain.draw("test", 12, 1):
        able, shown = domain.alternatives(scene), domain.attributes(scene)
        assert set(domain.values) - set(able) == {name for name in domain.part_of if shown[name] == NONE}
        for name, values in able.items():
            assert {*values, shown[name]} | {NONE} == {*domain.values[name], NONE}
            for value in values:
                changed = domain.change(scene, {name: value})
                now = domain.attributes(changed)
                dependent = {
                    other
                    for other, part in domain.part_of.items()
                    if part == name and NONE in (shown[other], now[other])
                }
                assert now[name] == value
                assert {name} <= {*attribute_differences(domain, scene, changed)} <= {name, *dependent}
                old, new = (domain.phrases(one) for one in (scene, changed))
                assert sum(a != b for a, b in zip(old, new, strict=True)) == 1


@ours
def test_captions_say_what_scenes_are(domain: AttributeDomain) -> None:
    scene = domain.draw("test", 1, 2)[0]
    for caption in (full_caption(domain, scene), domain.paraphrase(scene, random.Random(1))):
        assert domain.grammar.stated(caption) == domain.attributes(scene)
    for name, pair in domain.plain_changes.items():
        before, after = (domain.words(full_caption(domain, with_value(domain, scene, name, one))) for one in pair)
        assert len(before) == len(after), name
        assert before != after, name


def test_a_color_brings_its_part() -> None:
    bald = next(one for one in PORTRAITS.draw("test", 50, 0) if one.hair == "bald")
    found = with_value(PORTRAITS, bald, "hair_color", "pink")
    assert (found.hair, found.hair_color) == ("short", "pink")
    assert with_value(PORTRAITS, bald, "mouth", "sad") == bald.replace(mouth="sad")


@pytest.mark.nightly
@pytest.mark.parametrize("name", bundled_names())
def test_every_bundled_model_has_images_of_its_size(name: str) -> None:
    images = sample_images(name, 3, seed=20)
    side = 64 if name.startswith("pixels") else 128
    assert [image.size for image in images] == [(side, side)] * 3
    assert len({image.tobytes() for image in images}) == 3
    longer = sample_images(name, 4, seed=20)
    assert np.array_equal(longer[2], images[2]), "a longer draw begins with the shorter one"
