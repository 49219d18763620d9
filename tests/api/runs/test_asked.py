"""What is asked of pictures is what the verbs do; what does not go together is refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentedit.api import verbs
from latentedit.api.runs.asked import Asked
from latentedit.core.errors import ConfigError
from latentedit.directions.composition import Mixing
from latentedit.latents.encode import encode
from latentedit.latents.pictures import Picture
from latentedit.models.base import Backbone
from latentedit.testing.miniature import miniature_sd3

FROM, TO = "a person with no glasses", "a person with glasses"
CHANGES = ("no glasses => glasses", "=> a smile")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return verbs.load(miniature_sd3(tmp_path_factory.mktemp("models") / "miniature", t5=False), device="cpu")


def pictures(*sizes: tuple[int, int]) -> list[Picture]:
    random, sizes = np.random.default_rng(1), sizes or ((40, 56), (64, 64))
    return [Picture.from_image(Image.fromarray(random.integers(0, 256, (*s, 3)).astype(np.uint8))) for s in sizes]


def test_one_target_each(model: Backbone) -> None:
    targets = [TO, "a person with no glasses, a smile"]
    made = Asked(strengths=(0.5,), seed=3).edit(model, pictures(), captions=[FROM] * 2, targets=targets)
    assert [result.target_caption for result in made] == targets
    for picture, target, result in zip(pictures(), targets, made, strict=True):
        alone = verbs.edit(model, picture, to=target, caption=FROM, strength=0.5, seed=3)
        assert not isinstance(alone, list)
        assert result.record.strengths == alone.record.strengths == (0.5,)
        assert np.abs(np.asarray(result.image, int) - np.asarray(alone.image, int)).max() <= 1  # rounding


@pytest.mark.parametrize("mixing", ["sum", "inverse"])
def test_several_changes_are_put_together_picture_by_picture(model: Backbone, mixing: Mixing) -> None:
    asked = Asked(changes=CHANGES, strengths=(0.7, -0.3), mixing=mixing, seed=3)
    made = asked.edit(model, pictures(), captions=[FROM] * 2, targets=None)
    latent = encode(model, pictures()[1], caption=FROM)
    found = [verbs.identify(latent, change=change, seed=3) for change in CHANGES]
    wanted = verbs.manipulate(latent, found, strength=[0.7, -0.3], mixing=asked.mixing)
    assert not isinstance(wanted, list)
    assert made[1].image.tobytes() == wanted.image.tobytes()
    assert made[1].record == wanted.record
    assert not made[1].record.directions[0].given
    assert made[1].cost.evaluations > wanted.cost.evaluations, "the search is a part of it"


def test_directions_found_elsewhere_do_not_depend_on_who_is_edited_with_whom(model: Backbone) -> None:
    """Of the pictures here, one is that on which the direction was found; that must not change the others."""
    alike = pictures((40, 56), (40, 56))
    found = verbs.identify(encode(model, alike[0], caption=FROM), to=TO)
    asked = Asked(directions=(found,), strengths=(0.6,))
    both = asked.edit(model, alike, captions=[FROM] * 2, targets=None)
    alone = asked.edit(model, alike[1:], captions=[FROM], targets=None)
    assert both[1].image.tobytes() == alone[0].image.tobytes()
    assert both[1].record == alone[0].record
    assert both[1].record.directions[0].fingerprint == found.fingerprint


def test_who_composes() -> None:
    assert not Asked(changes=CHANGES[:1]).composed
    assert Asked(changes=CHANGES).composed
    assert not Asked(changes=CHANGES, method="flowedit").composed


def test_what_does_not_go_together_is_refused(model: Backbone) -> None:
    found = verbs.identify(encode(model, pictures()[0], caption=FROM), to=TO)
    with pytest.raises(ConfigError, match="expected --method eim with --direction; got 'flowedit'"):
        Asked(directions=(found,), method="flowedit")
    with pytest.raises(ConfigError, match="expected one --strength for method 'flowedit'"):
        Asked(changes=CHANGES, strengths=(0.5, 0.2), method="flowedit")
    with pytest.raises(ConfigError, match="either a target caption or a change; got none"):
        Asked().edit(model, pictures(), captions=[FROM] * 2, targets=None)


def test_a_direction_of_another_model_is_refused(model: Backbone, tmp_path: Path) -> None:
    other = verbs.load(miniature_sd3(tmp_path / "other", t5=False, seed=1), device="cpu")
    found = verbs.identify(encode(other, pictures()[0], caption=FROM), to=TO)
    with pytest.raises(ConfigError, match="expected a direction that was found in the model"):
        Asked(directions=(found,)).edit(model, pictures(), captions=[FROM] * 2, targets=None)
