"""The bundled folder of scenes: what it says of itself, and that it listens and edits."""

from pathlib import Path

import pytest
from PIL import Image

from latentedit.cli.main import run
from latentedit.guard.guard import check_familiarity
from latentedit.latents.drawing import draw_images
from latentedit.latents.encode import encode
from latentedit.models.base import Backbone
from latentedit.models.registry import bundled_folder, load
from latentedit_bench.data.prepared import to_tensor
from latentedit_scenes.attributes import PLACES, VALUES, Attributes, draw_split
from latentedit_scenes.captions import full_caption
from latentedit_scenes.domain import SCENES
from latentedit_scenes.parameters import parameters_of
from latentedit_scenes.reader import SceneReader
from latentedit_scenes.render import render_array

pytestmark = pytest.mark.nightly

FOLDER = bundled_folder("scenes")


@pytest.fixture(scope="module")
def model() -> Backbone:
    return load("scenes", device="cpu")


def test_it_listens(model: Backbone) -> None:
    """84 readings; the stored figures are the measurement, this is the alarm."""
    wanted, others = draw_split("test", 4, 9), draw_split("test", 4, 10)
    found = SceneReader.bundled().attributes(draw_images(model, [full_caption(scene) for scene in wanted]))
    wrong, control = (
        sum(len(one.differences(other)) for one, other in zip(found, scenes, strict=True)) / (4 * len(VALUES))
        for scenes in (wanted, others)
    )
    assert wrong < 0.15
    assert control > 0.4


def test_a_red_ball_becomes_a_blue_one_and_every_object_stays(tmp_path: Path) -> None:
    """Nobody says what the image shows: the reader does, before and after."""
    scene = next(one for one in draw_split("test", 200, 3)[::2] if "red ball" in _alone(one))
    source, edited = tmp_path / "scene.png", tmp_path / "edited.png"
    Image.fromarray(render_array(parameters_of(scene))).save(source)
    change = ["--change", "a red ball => a blue ball", "--model", "scenes"]
    assert run(["edit", str(source), *change, "-o", str(edited), "--quiet"]) == 0
    wanted = scene.replace(**{f"{_alone(scene)['red ball']}_color": "blue"})
    (seen,) = SCENES.read(to_tensor([Image.open(edited)]))
    assert [seen.object_at(place) for place in PLACES] == [wanted.object_at(place) for place in PLACES]


def test_the_guard_that_comes_with_it_knows_its_own_kind_and_no_other(model: Backbone) -> None:
    own = [Image.fromarray(SCENES.render(scene)) for scene in draw_split("test", 4, 12)[::2]]
    strange = [Image.new("RGB", (90, 120), "teal"), Image.effect_noise((128, 128), 90)]
    states = [[check_familiarity(encode(model, one)).knowledge[0].state for one in some] for some in (own, strange)]
    assert states == [["known"] * 2, ["unknown"] * 2]


def _alone(scene: Attributes) -> dict[str, str]:
    """The objects that are alone in shape and color, as "red ball", and their places."""
    told = [f"{scene.object_at(place)['color']} {scene.object_at(place)['shape']}" for place in scene.places()]
    return {name: place for name, place in zip(told, scene.places(), strict=True) if told.count(name) == 1}
