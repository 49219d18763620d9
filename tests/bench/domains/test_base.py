"""The laws of a domain, checked on the portraits, and sample images for the bundled models."""

import random

import numpy as np
import pytest

from latentedit.core.errors import ConfigError, RegistryError
from latentedit.models.registry import bundled_names
from latentedit_bench.domains.base import (
    Domain,
    attribute_differences,
    full_caption,
    load_domain,
    sample_images,
    with_value,
)
from latentedit_portraits.attributes import NONE, VALUES
from latentedit_portraits.captions import COLOR_OF, parse
from latentedit_portraits.domain import PORTRAITS
from tests.bench.conftest import Register

pytestmark = pytest.mark.slow


def test_a_domain_is_found_by_name(register: Register) -> None:
    assert load_domain("portraits") is PORTRAITS
    assert isinstance(PORTRAITS, Domain)
    with pytest.raises(RegistryError):
        load_domain("portrait")
    with pytest.raises(ConfigError):
        sample_images("elsewhere", 2, seed=20)
    register("domains", nothing="builtins:object")
    with pytest.raises(RegistryError, match="alternatives"):
        load_domain("nothing")


def test_every_alternative_changes_nothing_else() -> None:
    """Except the color of the part."""
    for scene in PORTRAITS.draw("calibration", 6, 5):
        able = PORTRAITS.alternatives(scene)
        shown = PORTRAITS.attributes(scene)
        assert set(VALUES) - set(able) == {name for name in ("hair_color", "facial_hair_color") if shown[name] == NONE}
        for name, values in able.items():
            assert {*values, shown[name]} | {NONE} == {*VALUES[name], NONE}
            for value in values:
                changed = PORTRAITS.change(scene, {name: value})
                assert PORTRAITS.attributes(changed)[name] == value
                assert {name} <= {*attribute_differences(PORTRAITS, scene, changed)} <= {name, COLOR_OF.get(name)}


def test_captions_say_what_scenes_are() -> None:
    scene = PORTRAITS.draw("test", 1, 0)[0]
    assert parse(full_caption(PORTRAITS, scene)) == PORTRAITS.attributes(scene)
    assert parse(PORTRAITS.paraphrase(scene, random.Random(1))) == PORTRAITS.attributes(scene)
    for name, (old, new) in PORTRAITS.plain_changes.items():
        before, after = (full_caption(PORTRAITS, with_value(PORTRAITS, scene, name, one)) for one in (old, new))
        assert len(PORTRAITS.words(before)) == len(PORTRAITS.words(after)), name
    bald = next(one for one in PORTRAITS.draw("test", 50, 0) if one.hair == "bald")
    found = with_value(PORTRAITS, bald, "hair_color", "pink")
    assert (found.hair, found.hair_color) == ("short", "pink"), "a color brings its part"
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
