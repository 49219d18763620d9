"""A request makes sense when it is made, and does what the verbs do; what does not go together is refused."""

import dataclasses
import inspect
import math
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from latentedit.core.errors import ConfigError, RegistryError
from latentedit.editing import verbs
from latentedit.editing.request import EditOptions, EditRequest, MoveOptions, descriptions
from latentedit.editors.eim import EIM
from latentedit.latents.captions.change import Change
from latentedit.latents.encode import encode
from latentedit.latents.images import SourceImage
from latentedit.models.base import Backbone
from latentedit.models.registry import load
from latentedit.testing.miniature import miniature_sd3

pytestmark = pytest.mark.slow

FROM, TO = "a person with no glasses", "a person with glasses"
CHANGES = ("no glasses => glasses", "=> a smile")
HAT = "add a hat"
FILE = Path("a.safetensors")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return load(miniature_sd3(tmp_path_factory.mktemp("models") / "miniature", t5=False), device="cpu")


def images(*sizes: tuple[int, int]) -> list[SourceImage]:
    random, sizes = np.random.default_rng(1), sizes or ((40, 56), (64, 64))
    return [SourceImage.from_image(Image.fromarray(random.integers(0, 256, (*s, 3)).astype(np.uint8))) for s in sizes]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"prompt": "a man", "change": ("=> a hat",)}, "`prompt` and `change` exclude each other"),
        (
            {"prompt": "a man", "change": ("=> a hat",), "direction": (FILE,)},
            "`prompt` and `change` and `direction` exclude",
        ),
        ({"prompt": "a man", "instruction": (HAT,)}, "`prompt` and `instruction` exclude each other"),
        ({"instruction": (HAT,), "source_prompt": "a man"}, "`instruction` cannot be combined with `source_prompt`"),
        ({"instruction": (" ",)}, "`instruction` is an empty"),
        ({"prompt": ("a man", " \n")}, "`prompt` is an empty caption"),
        ({"change": ("=> a hat", "nothing")}, "'nothing'"),
        ({"prompt": "a man \udcff"}, "`prompt` is not valid UTF-8"),
        ({"change": ("a hat => a \udfff",)}, "`change` is not valid UTF-8"),
        ({"strength": (1.0, -math.inf)}, "finite"),
        ({"strength": (True,)}, "finite"),
        ({"strength": ()}, "got 0"),
        ({"prompt": "a man", "strength": (1.0, 0.5)}, "one for each of 1 changes; got 2"),
        ({"instruction": (HAT,), "strength": (1.0, 0.5)}, "`strength` must be one number"),
        ({"change": CHANGES, "strength": (0.1, 0.2, 0.3)}, "one for each of 2 changes; got 3"),
        ({"method": "flowedits"}, "did you mean 'flowedit'"),
        ({"combine": "summ"}, "combine"),
        ({"direction": (FILE,), "method": "flowedit"}, "'flowedit' cannot move along a `direction`"),
        ({"change": CHANGES, "strength": (0.5, 0.2), "method": "flowedit"}, "cannot give each change a `strength`"),
        ({"change": CHANGES, "combine": "inverse", "method": "flowedit"}, "'flowedit' cannot combine directions"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(fields: dict[str, Any], words: str) -> None:
    with pytest.raises((ConfigError, RegistryError), match=re.escape(words)) as caught:
        EditRequest(**fields)
    assert len(str(caught.value).splitlines()) == 1


def test_what_a_request_leaves_open_is_refused_when_it_is_done(model: Backbone) -> None:
    """By then: the images of a manifest bring their own targets."""
    with pytest.raises(ConfigError, match="no edit requested"):
        verbs.edit_images(model, images(), EditRequest(source_prompt=FROM))
    request = EditRequest(change=CHANGES, add=("a hat",), remove=("a wall",), seed=3)
    assert [str(change) for change in pickle.loads(pickle.dumps(request)).change] == [*CHANGES, "=> a hat", "a wall =>"]


@pytest.mark.parametrize(
    ("fields", "composes"),
    [
        ({"prompt": TO}, False),
        ({"change": CHANGES[:1]}, False),
        ({"change": CHANGES}, False),
        ({"change": CHANGES, "strength": (1.0, 0.5)}, True),
        ({"change": (Change(old="", new="a hat"), CHANGES[0]), "method": EIM()}, True),
        ({"change": CHANGES, "method": "flowedit"}, False),
        ({"direction": (FILE,)}, True),
    ],
)
def test_who_composes(model: Backbone, fields: dict[str, Any], composes: bool) -> None:
    """The miniature has no stored settings, so that its default is flowedit, but for what eim alone does."""
    assert verbs.composes(EditRequest(**fields), model) is composes


class Stranger(EIM):
    """Somebody else's editor."""

    name: ClassVar[str] = "stranger"


def test_an_editor_of_somebody_else_is_not_replaced(model: Backbone) -> None:
    """It makes several changes in one text, and is in the record; what it cannot do is refused by its name."""
    result = verbs.edit(model, images()[0], change=CHANGES, source_prompt=FROM, method=Stranger(), strength=0.5)
    assert (result.method, result.record.method) == ("stranger", "stranger")
    assert result.target_caption == "a person with glasses, a smile"
    with pytest.raises(ConfigError, match=r"method 'stranger' .*method=\"eim\""):
        verbs.sweep(result.latent, prompt=TO, strengths=[0, 1], method=Stranger(), arm="joint")
    with pytest.raises(ConfigError, match=r"method 'stranger' .*method=\"eim\""):
        EditRequest(direction=(FILE,), method=Stranger())


def test_a_request_that_makes_no_sense_is_refused_before_anything_heavy_is_loaded() -> None:
    code = "import sys\nfrom latentedit.editing.request import EditRequest\nEditRequest(prompt='a')\n"
    code += "print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


@pytest.mark.nightly
@pytest.mark.parametrize("combine", ["sum", "inverse"])
def test_several_changes_are_put_together_image_by_image(model: Backbone, combine: Any) -> None:
    way: dict[str, Any] = {
        "change": CHANGES,
        "source_prompt": FROM,
        "strength": (0.7, -0.3),
        "combine": combine,
        "refine": False,
        "seed": 3,
    }
    made = verbs.edit(model, images(), **way)
    latent = encode(model, images()[1], source_prompt=FROM)
    found = [verbs.identify(latent, change=change, seed=3) for change in CHANGES]
    wanted = verbs.manipulate(latent, found, strength=[0.7, -0.3], combine=combine)
    assert made[1].image.tobytes() == wanted.image.tobytes()
    assert made[1].record == wanted.record
    assert not made[1].record.directions[0].given
    assert made[1].cost.evaluations > wanted.cost.evaluations, "the search is a part of it"


@pytest.mark.nightly
def test_directions_found_elsewhere_do_not_depend_on_who_is_edited_with_whom(model: Backbone, tmp_path: Path) -> None:
    """Of the images here, one is that on which the direction was found; that must not change the others."""
    alike = images((40, 56), (40, 56))
    found = verbs.identify(encode(model, alike[0], source_prompt=FROM), prompt=TO)
    found.save(tmp_path / "it.safetensors")
    way: dict[str, Any] = {"source_prompt": FROM, "strength": 0.6}
    _, among = verbs.edit(model, alike, direction=found, **way)
    for direction in (found, [tmp_path / "it.safetensors"]):
        (alone,) = verbs.edit(model, alike[1:], direction=direction, **way)
        assert alone.image.tobytes() == among.image.tobytes()
        assert alone.record == among.record
        assert alone.record.directions[0].fingerprint == found.fingerprint


def test_edit_shows_every_option_with_its_description() -> None:
    """`help` reads the signature and the docstring; type checkers read `EditOptions`."""
    options = {field.name for field in dataclasses.fields(EditRequest)} - {"settings"}
    shown = inspect.signature(verbs.edit).parameters
    assert options == descriptions().keys() - {"settings"} == shown.keys() - {"model", "image", "progress", "settings"}
    assert options == EditOptions.__annotations__.keys() | MoveOptions.__annotations__.keys()
    assert all(
        f"    {name}: {text}" in str(verbs.edit.__doc__) for name, text in descriptions().items() if name in options
    )


def test_a_latent_does_not_take_what_belongs_to_encoding(model: Backbone) -> None:
    latent = encode(model, images()[0], source_prompt=FROM)
    with pytest.raises(ConfigError, match="mask"):
        verbs.sweep(latent, prompt=TO, strengths=[1], mask=Image.new("L", (40, 56)))


def test_an_edit_looks_at_the_weights_once(model: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Backbone] = []
    look = type(model)._identity
    monkeypatch.setattr(type(model), "_identity", lambda own: looks.append(own) or look(own))
    verbs.edit(model, images()[0], prompt=TO, source_prompt=FROM, method="sdedit", num_inference_steps=2)
    assert len(looks) == 1
    assert len({model.fingerprint, model.fingerprint}) == 1
    assert len(looks) == 3
