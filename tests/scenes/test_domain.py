"""The scenes fulfill the laws of a domain."""

import pytest

from latentedit_bench.domains.base import Domain, attribute_differences, full_caption, load_domain, scalable, with_value
from latentedit_scenes.attributes import NONE, PART_OF
from latentedit_scenes.domain import SCENES

pytestmark = pytest.mark.slow

DOMAIN = load_domain("scenes")


def test_a_change_sets_the_requested_value_and_at_most_the_dependent_ones() -> None:
    assert DOMAIN is scalable("scenes") is SCENES
    assert isinstance(DOMAIN, Domain)
    for scene in SCENES.draw("test", 20, 1):
        for name, values in SCENES.alternatives(scene).items():
            for value in values:
                changed = SCENES.change(scene, {name: value})
                assert SCENES.attributes(changed)[name] == value
                own = {other for other, part in PART_OF.items() if part == name}
                dependent = own if NONE in (value, getattr(scene, name)) else set[str]()
                assert {name} <= set(attribute_differences(DOMAIN, scene, changed)) <= {name} | dependent
                old, new = (SCENES.phrases(one) for one in (scene, changed))
                assert sum(a != b for a, b in zip(old, new, strict=True)) == 1


def test_plain_changes_keep_the_number_of_words() -> None:
    scene = SCENES.draw("test", 1, 2)[0]
    for name, pair in SCENES.plain_changes.items():
        words = [SCENES.words(full_caption(DOMAIN, with_value(DOMAIN, scene, name, value))) for value in pair]
        assert len(words[0]) == len(words[1])
        assert sum(a != b for a, b in zip(*words, strict=True)) == 1
