"""The bundled model of scenes edits what is asked for; `tests/portraits/test_bundled.py` has what all models do."""

from pathlib import Path

import pytest
from PIL import Image

from latentedit.cli import run
from latentedit.models import bundled_folder
from latentedit_bench.data.prepared import to_tensor
from latentedit_scenes.attributes import PLACES, Attributes, draw_split
from latentedit_scenes.domain import SCENES
from latentedit_scenes.parameters import parameters_of
from latentedit_scenes.render import render_array

pytestmark = pytest.mark.nightly

FOLDER = bundled_folder("scenes")


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


def _unique_objects(scene: Attributes) -> dict[str, str]:
    """Objects with a unique combination of shape and color, such as "red ball", and their places."""
    names = [f"{scene.object_at(place)['color']} {scene.object_at(place)['shape']}" for place in scene.places()]
    return {name: place for name, place in zip(names, scene.places(), strict=True) if names.count(name) == 1}
