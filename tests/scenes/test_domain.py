"""The scenes keep the laws of a domain, and are a data set and an open task through it."""

import pytest

from latentedit_bench.domains.base import Domain, differences, domain, full_caption, scalable, with_value
from latentedit_scenes.attributes import NONE, PART_OF
from latentedit_scenes.domain import SCENES

pytestmark = pytest.mark.slow

WORLD = domain("scenes")


def test_changes_are_those_asked_for() -> None:
    assert WORLD is scalable("scenes") is SCENES
    assert isinstance(WORLD, Domain)
    for scene in SCENES.draw("test", 20, 1):
        for name, values in SCENES.alternatives(scene).items():
            for value in values:
                changed = SCENES.change(scene, {name: value})
                assert SCENES.attributes(changed)[name] == value
                own = {other for other, part in PART_OF.items() if part == name}
                beside = own if NONE in (value, getattr(scene, name)) else set[str]()
                assert {name} <= set(differences(WORLD, scene, changed)) <= {name} | beside
                old, new = (SCENES.phrases(one) for one in (scene, changed))
                assert sum(a != b for a, b in zip(old, new, strict=True)) == 1


def test_plain_changes_take_equally_many_words() -> None:
    scene = SCENES.draw("test", 1, 2)[0]
    for name, pair in SCENES.plain_changes.items():
        said = [SCENES.words(full_caption(WORLD, with_value(WORLD, scene, name, value))) for value in pair]
        assert len(said[0]) == len(said[1])
        assert sum(a != b for a, b in zip(*said, strict=True)) == 1
