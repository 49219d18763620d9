"""Requests: contradictions are rejected when they are created, and their results are those of the verbs."""

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
from latentedit.editing.request import EditOptions, EditRequest, check_names, descriptions
from latentedit.editing.session import Session
from latentedit.editors.eim import EIM
from latentedit.encoding.captions.change import Change
from latentedit.encoding.encode import encode
from latentedit.encoding.images import SourceImage
from latentedit.models.base import Backbone
from latentedit.models.registry import load
from latentedit.testing.miniature import miniature_sd3

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
        ({"prompt": "a man", "change": ("=> a hat",)}, "`prompt` and `change`"),
        (
            {"prompt": "a man", "change": ("=> a hat",), "direction": (FILE,)},
            "`prompt` and `change` and `direction`",
        ),
        ({"prompt": "a man", "instruction": (HAT,)}, "`prompt` and `instruction`"),
        ({"instruction": (HAT,), "source_prompt": "a man"}, "`source_prompt`"),
        ({"instruction": (" ",)}, "`instruction`"),
        ({"prompt": ("a man", " \n")}, "`prompt`"),
        ({"change": ("=> a hat", "nothing")}, "'nothing'"),
        ({"prompt": "a man \udcff"}, "`prompt`"),
        ({"change": ("a hat => a \udfff",)}, "`change`"),
        ({"strength": (1.0, -math.inf)}, "`strength`"),
        ({"strength": (True,)}, "`strength`"),
        ({"strength": (70,)}, "0.7?"),
        ({"prompt": "a man", "source_prompt": "a man"}, "`source_prompt`"),
        ({"strength": ()}, "got 0"),
        ({"prompt": "a man", "strength": (1.0, 0.5)}, "got 2"),
        ({"instruction": (HAT,), "strength": (1.0, 0.5)}, "`strength`"),
        ({"change": CHANGES, "strength": (0.1, 0.2, 0.3)}, "got 3"),
        ({"method": "flowedits"}, "'flowedit'"),
        ({"combine": "summ"}, "combine"),
        ({"direction": (FILE,), "method": "flowedit"}, "`direction`"),
        ({"change": CHANGES, "strength": (0.5, 0.2), "method": "flowedit"}, "`strength`"),
        ({"change": CHANGES, "combine": "inverse", "method": "flowedit"}, "'flowedit'"),
    ],
)
def test_contradictory_requests_are_rejected_in_one_line(fields: dict[str, Any], words: str) -> None:
    with pytest.raises((ConfigError, RegistryError), match=re.escape(words)) as caught:
        EditRequest(**fields)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.slow
def test_a_request_without_target_is_rejected_when_it_is_run(model: Backbone) -> None:
    """Not before, because the images of a manifest have their own targets."""
    with pytest.raises(ConfigError):
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
def test_only_some_requests_compose_directions(model: Backbone, fields: dict[str, Any], composes: bool) -> None:
    """Without stored settings, the default is flowedit, except for requests that only eim can do."""
    assert verbs.composes(EditRequest(**fields), model) is composes


class Stranger(EIM):
    """A third-party editor."""

    name: ClassVar[str] = "stranger"


@pytest.mark.slow
def test_a_third_party_editor_is_not_replaced(model: Backbone) -> None:
    """It applies several changes by one text and is in the record; requests that it cannot do are rejected."""
    result = verbs.edit(model, images()[0], change=CHANGES, source_prompt=FROM, method=Stranger(), strength=0.5)
    assert (result.method, result.record.recipe.method) == ("stranger", "stranger")
    assert result.target_caption == "a person with glasses, a smile"
    with pytest.raises(ConfigError, match="'stranger'"):
        Session(result.latent).sweep(prompt=TO, strengths=[0, 1], method=Stranger(), arm="joint")
    with pytest.raises(ConfigError, match="'stranger'"):
        EditRequest(direction=(FILE,), method=Stranger())


def test_requests_are_checked_without_importing_torch() -> None:
    code = "import sys\nfrom latentedit.editing.request import EditRequest\nEditRequest(prompt='a')\n"
    code += "print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


@pytest.mark.nightly
def test_given_directions_do_not_depend_on_the_other_images(model: Backbone, tmp_path: Path) -> None:
    """One of the images is the one on which the direction was found; that must not affect the others."""
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


def test_the_docstring_of_edit_describes_every_option() -> None:
    """`help` reads the signature and the docstring; type checkers read `EditOptions`."""
    options = {field.name for field in dataclasses.fields(EditRequest)} - {"settings"}
    shown = inspect.signature(verbs.edit).parameters
    assert (
        options
        == descriptions(EditRequest).keys() - {"settings"}
        == shown.keys() - {"model", "image", "progress", "settings"}
    )
    assert EditOptions.__annotations__.keys() == options - {"prompt"}
    for verb in (verbs.edit, verbs.sweep, verbs.manipulate, verbs.identify):
        for name in inspect.signature(verb).parameters.keys() - {"settings"}:
            assert f"    {name}: " in str(verb.__doc__), (verb, name)


def test_options_of_encoding_are_rejected_for_a_latent(model: Backbone) -> None:
    latent = encode(model, images()[0], source_prompt=FROM)
    with pytest.raises(ConfigError):
        Session(latent).sweep(prompt=TO, strengths=[1], mask=Image.new("L", (40, 56)))


def test_only_the_arguments_that_mean_the_same_are_named() -> None:
    given = {"strength": 0.5, "seed": 1, "progress": False, "generator": 2}
    with pytest.raises(ConfigError) as caught:
        check_names("edit", given, [*given])
    assert "seed, generator" in str(caught.value)
    assert "strength" not in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        check_names("edit", {"prompt": "a", "seed": 1, "target_prompt": "b"}, ["prompt", "seed"])
    assert "prompt, target_prompt" in str(caught.value)
    assert "seed" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("negative_prompt", "stay"),
        ("prompt_embeds", "`prompt`"),
        ("callback_on_step_end", "`progress`"),
        ("ip_adapter_image_embeds", "`references`"),
        ("height", "size"),
    ],
)
def test_usual_arguments_of_diffusers_have_a_remedy_each(name: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy) as caught:
        check_names("edit", {name: 1}, ["prompt", "seed"])
    assert "It has:" not in str(caught.value)
    assert check_names("edit", {name: None}, ["prompt", "seed"]) == {}


def test_a_setting_of_other_methods_names_them() -> None:
    with pytest.raises(ConfigError, match="rf-inversion"):
        check_names("edit", {"eta": 1}, ["prompt", "seed"])
