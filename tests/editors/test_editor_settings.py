"""Settings of registered editors: the published ones of each family, those of the model, and the default method."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import latentedit as le
from latentedit.core.errors import ConfigError
from latentedit.editors.base import default_method, default_note, editor_class, make_editor
from latentedit.editors.eim import EIM
from latentedit.encoding.images import Frame, SourceImage
from latentedit.encoding.joint import JointLatent
from latentedit.identification.hsds import HSDS
from latentedit.models.base import Backbone
from latentedit.models.families.unet import StableDiffusionXLBackbone
from latentedit.models.model_settings import store_calibration
from latentedit.numerics.condition import Condition
from latentedit.testing.miniature import sd3_pipeline
from tests.miniatures.flow import flux
from tests.miniatures.noise import sd_pipeline
from tests.testing.gaussian_mixture import example_mixture


def latent_of_size(backbone: Backbone, side_px: int) -> JointLatent:
    """A latent of an image of this size, without its pixels."""
    image = SourceImage(image=Image.new("RGB", (side_px, side_px)))
    frame = Frame(image=image, pixels=torch.zeros(3, 1, 1).expand(3, side_px, side_px), box=(0, 0, side_px, side_px))
    point = torch.zeros(1, 1, 1, 1)
    text = Condition(tokens=point[0], pooled=point[0, 0])
    return JointLatent(backbone=backbone, z=point, condition=text, captions=("",), frames=(frame,))


def test_settings_and_weights_are_those_of_the_family() -> None:
    """Published settings are its defaults; a weight that a distilled model does not support is rejected."""
    dev: Any = make_editor("flowedit", le.from_pipeline(flux()))
    assert (dev.steps, dev.source_guidance, dev.target_guidance) == (28, 1.5, 5.5)
    tuned: Any = make_editor("flowedit", le.from_pipeline(flux(), settings={"editors": {"flowedit": {"steps": 9}}}))
    assert (tuned.steps, tuned.target_guidance) == (9, 2.0)
    model = le.from_pipeline(flux(guidance_embeds=False))
    plain: Any = make_editor("flowedit", model)
    assert (plain.source_guidance, plain.target_guidance) == (1.0, 1.0)
    with pytest.raises(ConfigError, match="guidance"):
        editor_class("flowedit")(steps=2).edit(latent_of_size(model, 64), model.embed(["b"]), [1.0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "expected_steps"),
    [
        (flux, {"flowedit": 24, "flowslider": 24, "dnaedit": 24, "uni-edit": 9, "sdedit": 17, "veloedit": 6}),
        (
            lambda: sd3_pipeline(t5=False),
            {"flowedit": 33, "splitflow": 33, "flowalign": 33, "dnaedit": 27, "uni-edit": 9, "sdedit": 30},
        ),
        (sd_pipeline, {"sdedit": 40, "diffedit": 40, "ledits": 30, "edit-friendly-ddpm": 64, "masactrl": 50}),
    ],
    ids=["flux", "sd3", "sd"],
)
def test_published_levels_give_the_steps_of_the_published_code(make: Any, expected_steps: dict[str, int]) -> None:
    backbone = le.from_pipeline(make())
    for name, steps in expected_steps.items():
        editor: Any = make_editor(name, backbone)
        for side in (512, 1024, 2048):  # FLUX.1's levels are shifted by size
            latent = latent_of_size(backbone, side)
            levels, until = latent.path(editor.steps, editor.level).levels, getattr(editor, "until", 1.0)
            assert (name, len(levels) - 1) == (name, steps)
            separate = sum(level > latent.level(editor.steps, until) for level in levels)
            assert separate == {"splitflow": 6, "veloedit": 1}.get(name, 0)


def test_other_steps_keep_the_share_of_the_path_unless_a_level_is_given() -> None:
    """At 512 px, where the grid of 28 steps has 26 below the level of the published 24 at 1024."""
    backbone = le.from_pipeline(flux())
    latent = latent_of_size(backbone, 512)
    for settings, steps in (({}, 24), ({"steps": 14}, 12), ({"level": 0.5}, 10), ({"level": "1/2"}, 14)):
        editor: Any = make_editor("flowedit", backbone, settings=settings)
        assert editor.evaluations(latent) == 2 * steps
        assert type(editor).from_dict(editor.to_dict()) == editor
    with pytest.raises(ConfigError):
        make_editor("sdedit", backbone).evaluations(latent, strength=1.5)
    for wrong in (0.0, 1.5, True, "29/28", "0/28", "half"):
        with pytest.raises(ConfigError, match="level"):
            make_editor("flowedit", backbone, settings={"level": wrong})


@pytest.mark.slow
def test_published_levels_match_integer_training_timesteps() -> None:
    unet: Any = le.from_pipeline(sd_pipeline())
    for name in unet.published:
        make_editor(name, unet)  # every name and setting exists
    diffedit, chord, dds = (unet.published[name] for name in ("diffedit", "chordedit", "dds"))
    published = [diffedit["level"], diffedit["mask_level"], chord["levels"][0], chord["levels"][0] - chord["gap"]]
    published += [StableDiffusionXLBackbone.published["turboedit"]["level"], *dds["levels"]]
    times = [781, 481, 900, 750, 799, 950, 50]
    assert published == pytest.approx([unet.schedule.levels[time] for time in times], abs=2e-3)


def test_settings_of_the_model_replace_the_defaults() -> None:
    backbone = example_mixture(dimension=2)
    assert make_editor("eim", backbone) == EIM()
    backbone.defaults = {"editors": {"eim": {"arm": "joint", "search": {"levels": [0.9, 0.5]}}}}
    assert make_editor("eim", backbone) == EIM(arm="joint", search=HSDS(levels=(0.9, 0.5)))
    backbone.defaults = {"editors": {"eim": {"search": {"level": [0.9, 0.5]}}}}
    with pytest.raises(ConfigError, match="'levels'"):
        make_editor("eim", backbone)
    backbone.defaults = {"editors": {"eim": {"arms": "joint"}}}
    with pytest.raises(ConfigError, match="'arm'"):
        make_editor("eim", backbone)


def test_the_default_is_eim_only_for_tuned_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTEDIT_DATA", str(tmp_path))
    backbone = example_mixture(dimension=2)
    assert default_method(backbone) == make_editor(None, backbone).name == "flowedit"
    assert default_method(backbone, instructed=True) == "eim"
    (note,) = default_note(None, backbone)
    assert "flowedit" in note
    assert "`method`" in note
    assert default_note("flowedit", backbone) == default_note(None, backbone, instructed=True) == ()
    store_calibration(backbone.fingerprint, {"guard": {}})
    assert default_method(backbone) == "flowedit", "a calibration of the guard does not tune editors"
    store_calibration(backbone.fingerprint, {"settings": {"eim": {}}})
    assert default_method(backbone) == "eim"
    backbone = example_mixture(dimension=2)
    backbone.defaults = {"editors": {"sdedit": {"level": 0.5}}}
    assert default_method(backbone) == "eim"
    assert default_note(None, backbone) == ()
