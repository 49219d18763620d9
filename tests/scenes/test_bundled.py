"""The bundled model of scenes: adherence, edits, and its guard."""

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


def test_samples_show_what_their_captions_state(model: Backbone) -> None:
    """A coarse check with 84 attributes; the stored figures are more precise."""
    expected, others = draw_split("test", 4, 9), draw_split("test", 4, 10)
    found = SceneReader.bundled().attributes(draw_images(model, [full_caption(scene) for scene in expected]))
    wrong, control = (
        sum(len(one.differences(other)) for one, other in zip(found, scenes, strict=True)) / (4 * len(VALUES))
        for scenes in (expected, others)
    )
    assert wrong < 0.15
    assert control > 0.4


def test_a_red_ball_becomes_blue_and_every_object_stays(tmp_path: Path) -> None:
    """The captioner describes the image; no caption is given."""
    scene = next(one for one in draw_split("test", 200, 3)[::2] if "red ball" in _unique_objects(one))
    source, edited = tmp_path / "scene.png", tmp_path / "edited.png"
    Image.fromarray(render_array(parameters_of(scene))).save(source)
    change = ["--change", "a red ball => a blue ball", "--model", "scenes"]
    assert run(["edit", str(source), *change, "-o", str(edited), "--quiet"]) == 0
    expected = scene.replace(**{f"{_unique_objects(scene)['red ball']}_color": "blue"})
    (seen,) = SCENES.read(to_tensor([Image.open(edited)]))
    assert [seen.object_at(place) for place in PLACES] == [expected.object_at(place) for place in PLACES]


def test_the_guard_separates_renders_from_other_images(model: Backbone) -> None:
    own = [Image.fromarray(SCENES.render(scene)) for scene in draw_split("test", 4, 12)[::2]]
    strange = [Image.new("RGB", (90, 120), "teal"), Image.effect_noise((128, 128), 90)]
    states = [[check_familiarity(encode(model, one)).knowledge[0].state for one in some] for some in (own, strange)]
    assert states == [["known"] * 2, ["unknown"] * 2]


def _unique_objects(scene: Attributes) -> dict[str, str]:
    """Objects with a unique combination of shape and color, such as "red ball", and their places."""
    names = [f"{scene.object_at(place)['color']} {scene.object_at(place)['shape']}" for place in scene.places()]
    return {name: place for name, place in zip(names, scene.places(), strict=True) if names.count(name) == 1}
