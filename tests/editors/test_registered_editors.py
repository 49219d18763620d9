"""Laws of all registered editors: the contract on several models, costs, signs, equal texts, invalid settings.

A row is an editor's name and settings, a strength that it allows, and the model that it edits with.
"""

import dataclasses
import importlib.metadata
from collections.abc import Callable
from typing import Any

import pytest
import torch

import latentedit as le
from latentedit.core.errors import ConfigError, RegistryError
from latentedit.core.plugins import EDITORS
from latentedit.editors.base import Editor, editor_class
from latentedit.editors.edit import Edit, Latents
from latentedit.editors.judge import Judge
from latentedit.encoding.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.numerics.condition import Condition
from latentedit.numerics.rng import draw
from latentedit.testing.contracts.editor import EditorContract
from latentedit.testing.miniature import sd3_pipeline
from tests.editors.baselines.cases import vp_model
from tests.editors.few_steps import few_steps
from tests.identification.mixtures import guidance_distilled, mixture_latent
from tests.identification.networks import NetworkBackbone, network_latent
from tests.miniatures.flow import flux
from tests.miniatures.noise import sd_pipeline
from tests.testing.gaussian_mixture import example_mixture
from tests.testing.tolerances import relative_error

Row = tuple[str, dict[str, Any], float, str]

MODELS: dict[str, Callable[[], Backbone]] = {
    "mixture": lambda: example_mixture(dimension=6, latent=(2, 3)),
    "single": lambda: example_mixture(dimension=6, latent=(2, 3), dtype=torch.float32),
    "one axis": lambda: example_mixture(dimension=6),
    "spatial": lambda: example_mixture(dimension=12, latent=(3, 2, 2)),
    "network": lambda: NetworkBackbone(s_min=0.05, s_max=0.97),
    "vp": vp_model,
    "vp, single": lambda: vp_model(dtype=torch.float32),
    "transformer": lambda: le.from_pipeline(sd3_pipeline(t5=False)),
}
CASES: list[Row] = [
    ("aligned-inversion", {"steps": 8, "level": 0.7, "guidance": 2.0}, 0.8, "mixture"),
    ("aligned-inversion", {"steps": 6, "level": 0.7}, 0.8, "mixture"),
    ("asyrp", {"steps": 5, "level": 1.0, "scale": 1.0}, -1.5, "network"),
    ("asyrp", {"level": 1.0, "steps": 6, "until": 0.0}, 0.8, "vp"),
    ("chordedit", {"steps": 2, "noises": 3}, -1.5, "mixture"),
    ("chordedit", {"levels": (1.0, 0.0)}, 0.8, "vp, single"),
    ("chordedit", {"steps": 2, "noises": 2, "antithetic": True, "shift": 2.0}, 0.8, "mixture"),
    ("dds", {"steps": 4, "noises": 2, "antithetic": True, "shift": 2.0}, 0.8, "mixture"),
    ("dds", {"steps": 5, "guidance": 1.0}, 1.5, "single"),
    ("dds", {"steps": 5, "levels": (1.0, 0.0), "guidance": 3.0}, 0.8, "vp"),
    ("diffedit", {"steps": 7, "maps": 3}, 0.8, "mixture"),
    ("diffedit", {"level": 1.0, "mask_level": 1.0, "steps": 6, "maps": 2}, 0.8, "vp"),
    ("diffedit", {"steps": 4, "maps": 4, "antithetic": True, "shift": 2.0}, 0.8, "mixture"),
    ("dnaedit", {"steps": 6, "level": 1.0, "eta": 1.0}, -0.7, "mixture"),
    ("dnaedit", {"steps": 10, "eta": 0.8}, 1.0, "mixture"),
    ("dvrf", {"steps": 7, "source_guidance": 1.5, "noises": 2}, -0.8, "mixture"),
    ("dvrf", {"steps": 10, "source_guidance": 3.5, "target_guidance": 3.5}, -2.0, "mixture"),
    ("edit-friendly-ddpm", {"level": 1.0, "steps": 5, "source_guidance": 2.0, "target_guidance": 2.0}, 1.0, "mixture"),
    ("edit-friendly-ddpm", {"steps": 7}, 0.8, "vp"),
    ("fireflow", {"steps": 6, "level": 0.8}, 0.8, "vp, single"),
    ("flowalign", {"level": 0.8, "steps": 5, "guidance": 3.0, "pull": 0.2}, -0.5, "mixture"),
    ("flowalign", {"steps": 4, "noises": 2, "antithetic": True, "shift": 2.5}, 0.8, "vp"),
    ("flowedit", {"steps": 7, "source_guidance": 1.5, "noises": 2}, 0.8, "mixture"),
    ("flowedit", {"steps": 10, "source_guidance": 3.5, "target_guidance": 3.5}, 3.0, "mixture"),
    ("flowslider", {"level": 1.0, "steps": 5}, -1.5, "mixture"),
    ("freesliders", {"steps": 7, "probes": 2}, -0.6, "mixture"),
    ("freesliders", {"level": 1.0, "steps": 6}, 1.5, "vp, single"),
    ("inversion", {"steps": 8, "level": 0.9, "guidance": 2.0}, 0.8, "mixture"),
    ("ledits", {"level": 1.0, "steps": 7, "reference": "source", "threshold": 0.5}, -1.5, "mixture"),
    ("ledits", {"steps": 7, "reference": "source"}, 0.8, "vp"),
    ("ledits", {"steps": 4, "reference": "source", "antithetic": True, "shift": 2.0}, 0.8, "mixture"),
    ("ledits", {"steps": 7}, 0.8, "mixture"),
    (
        "loco",
        {"steps": 5, "level": 1.0, "mask_level": 1.0, "rank": 1, "products": 4, "maps": 2, "ratio": 2.0},
        0.8,
        "vp",
    ),
    ("loco", {"steps": 5, "rank": 2, "products": 4, "ratio": 2.0}, 0.8, "spatial"),
    ("pullback", {"steps": 4, "level": 1.0, "rank": 2, "products": 4, "repeats": 2, "scale": 5.0}, -1.5, "network"),
    ("pullback", {"steps": 5, "rank": 2, "products": 4}, 0.8, "vp"),
    ("rf-inversion", {"steps": 6, "level": 0.8, "stop": 1.0, "legacy": True}, -0.3, "mixture"),
    ("rf-inversion", {"steps": 8, "legacy": True}, 0.8, "vp, single"),
    ("rf-solver", {"steps": 6, "level": 0.9, "guidance": 2.0}, 0.8, "mixture"),
    ("sam-flow", {"steps": 7, "source_guidance": 1.5, "noises": 2}, 0.8, "spatial"),
    ("sam-flow", {"steps": 5, "noises": 2, "antithetic": True, "shift": 2.5}, -0.8, "mixture"),
    ("sam-flow", {"steps": 5, "core": 0.3}, 0.8, "vp, single"),
    ("sam-flow", {"steps": 10, "source_guidance": 2.0, "target_guidance": 2.0}, -2.0, "mixture"),
    ("sds", {"steps": 6, "levels": (1.0, 0.0), "guidance": 1.0}, 1.3, "vp"),
    ("sds", {"steps": 4, "noises": 2, "antithetic": True}, 1.3, "mixture"),
    ("sega", {"level": 0.9, "steps": 7, "reference": "source", "threshold": 0.5}, -1.5, "mixture"),
    ("sega", {"steps": 7}, 0.8, "vp"),
    ("splitflow", {"level": 1.0, "steps": 5, "until": 0.5, "source_guidance": 1.5}, -0.8, "mixture"),
    ("splitflow", {"steps": 6, "captions": (("b", "a c"),), "until": 0.6}, 0.8, "vp, single"),
    ("splitflow", {"steps": 4, "noises": 2, "antithetic": True, "shift": 2.0}, 0.8, "mixture"),
    ("splitflow", {"steps": 6, "source_guidance": 2.0, "captions": (("b",),)}, 1.0, "mixture"),
    ("steering-fields", {"level": 1.0, "steps": 5, "attract": 1.0, "repel": 0.5}, -0.9, "mixture"),
    ("steering-fields", {"steps": 6}, -2.0, "mixture"),
    ("text-steering", {"steps": 7, "guidance": 1.5}, 0.8, "mixture"),
    ("text-steering", {"level": 1.0, "steps": 6}, 0.8, "vp"),
    ("turboedit", {"level": 1.0, "steps": 5, "clip": None, "noise_shift": 0}, -1.5, "mixture"),
    ("turboedit", {"steps": 5}, 0.8, "vp"),
    ("turboedit", {"noise_shift": 1, "clip": None}, 1.0, "mixture"),
    ("uni-edit", {"steps": 8, "level": 1.0, "weight": 1.0}, -0.3, "one axis"),
    ("uni-edit", {"steps": 6, "level": 0.8}, 0.8, "vp, single"),
    ("velocity-steering", {"steps": 5, "probes": 2, "scale": 2.0}, 0.8, "mixture"),
    ("velocity-steering", {"steps": 4, "probes": 1, "antithetic": True}, 0.8, "mixture"),
    ("veloedit", {"steps": 7, "guidance": 2.0, "threshold": 0.5}, -0.5, "mixture"),
    ("veloedit", {"level": 0.8, "steps": 6, "until": 0.0}, 0.8, "vp, single"),
]
UNLISTED: list[Row] = [
    (name, few_steps(name).to_dict(), 0.8, "transformer")
    for name in EDITORS.names()
    if name not in {row[0] for row in CASES} | {"eim"}
]
"""Editors that need attention layers, and those registered by other packages; `test_eim` has a contract of its own."""

QUICK_EDITORS = (
    *("aligned-inversion", "asyrp", "chordedit", "dds", "diffedit", "dnaedit", "edit-friendly-ddpm"),
    *("flowedit", "ledits", "loco", "pullback", "sam-flow", "sds", "sega", "splitflow"),
    *("steering-fields", "turboedit", "velocity-steering"),
)
"""Editors that differ in kind; `make test` holds the laws of the first case of each."""

SHARING = {
    *("aligned-inversion", "asyrp", "dds", "diffedit", "dvrf", "edit-friendly-ddpm", "flowalign", "flowedit"),
    *("flowslider", "inversion", "ledits", "loco", "pullback", "sam-flow", "sega", "splitflow", "turboedit"),
    *("freesliders", "steering-fields"),
}
"""Editors of which a part does not depend on the strength: an inversion, a mask, the velocities at the image."""


def make(name: str, settings: dict[str, Any]) -> Editor:
    return editor_class(name).from_dict(settings)


def latent_on(model: str) -> JointLatent:
    return network_latent(NetworkBackbone()) if model == "network" else mixture_latent(example_mixture(dimension=6))


def latent_of(backbone: Backbone, *texts: str) -> JointLatent:
    """Latents of the model's scale."""
    z = draw((len(texts), *backbone.latent_shape(64, 64)), seed=0, purpose="contract").to(backbone.dtype)
    return JointLatent(backbone=backbone, z=z, condition=backbone.embed(texts), captions=texts)


def case_id(row: Row) -> str:
    name, _, strength, model = row
    return f"{name}-{strength}-{model}"


def rows_by_tier() -> list[Any]:
    """Return the rows of all editors. All but the first one of each of the `QUICK_EDITORS` are slow."""
    quick_names = set(QUICK_EDITORS)
    rows: list[Any] = []
    for row in [*CASES, *UNLISTED]:
        if row[0] in quick_names:
            quick_names.remove(row[0])
            rows.append(pytest.param(row, id=case_id(row)))
        else:
            rows.append(pytest.param(row, id=case_id(row), marks=pytest.mark.slow))
    return rows


class TestLaws(EditorContract):
    """The contract, and laws that hold for the editors of this package."""

    @pytest.fixture(params=rows_by_tier())
    def row(self, request: pytest.FixtureRequest) -> Row:
        return request.param

    @pytest.fixture
    def editor(self, row: Row) -> Editor:
        self.strength = row[2]
        return make(row[0], row[1])

    @pytest.fixture
    def backbone(self, row: Row) -> Backbone:
        return MODELS[row[3]]()

    @pytest.fixture
    def latent(self, backbone: Backbone) -> JointLatent:
        return latent_of(backbone, "a", "b", "a b")

    def test_the_cost_of_every_strength_is_that_of_its_edit(
        self, row: Row, editor: Editor, latent: JointLatent, target: Condition
    ) -> None:
        """Also on given levels, on a model that has the guidance as an input, and where the strength is refused."""
        latents = [latent, dataclasses.replace(latent, levels=latent.path(3))]
        if row[3] == "mixture":
            mixture: Any = latent.backbone
            latents.append(dataclasses.replace(latent, backbone=guidance_distilled(mixture)))
        for each in latents:
            for strength in (-0.5, 0.0, 0.5, 1.0):
                with each.backbone.count() as spent:
                    try:
                        editor.edit(each, target, [strength])
                    except ConfigError:
                        with pytest.raises(ConfigError):
                            editor.evaluations(each, strength=strength)
                        continue
                assert spent.evaluations == len(each) * editor.evaluations(each, strength=strength)

    def test_law_5_equal_texts(self, editor: Editor, latent: JointLatent) -> None:
        """The image stays bit for bit where the editor says so, and only there."""
        edited = editor.edit(latent, latent.condition, [self.strength])[0].z
        assert torch.equal(edited, latent.z) == editor.keeps_equal_texts

    def test_strengths_together_are_those_of_each_alone(
        self, editor: Editor, latent: JointLatent, target: Condition
    ) -> None:
        """To the last bit, for fewer evaluations where the strengths share some."""
        strengths = [self.strength, self.strength / 2]
        with latent.backbone.count() as apart:
            alone = [editor.edit(latent, target, [one])[0].z for one in strengths]
        with latent.backbone.count() as together:
            both = editor.edit(latent, target, strengths)
        assert all(torch.equal(one.z, z) for one, z in zip(both, alone, strict=True))
        fewer = together.evaluations < apart.evaluations
        assert fewer if editor.name in SHARING else together.evaluations <= apart.evaluations


@pytest.fixture(scope="module", params=["unet", "embedded", "none"])
def latent(request: pytest.FixtureRequest) -> JointLatent:
    """Latents of a U-Net that predicts noise, and of transformers with embedded or no guidance."""
    pipeline = sd_pipeline() if request.param == "unet" else flux(guidance_embeds=request.param == "embedded")
    backbone = le.from_pipeline(pipeline, settings={"sizes": [64, 64, 96]})
    return latent_of(backbone, *("a", "b")[: 2 if request.param == "unet" else 1])


@pytest.mark.nightly
@pytest.mark.parametrize("name", EDITORS.names())
def test_laws_1_3_and_4_on_a_network(name: str, latent: JointLatent) -> None:
    """These laws depend on a network's layers, levels, prediction and guidance."""
    editor, contract, target = few_steps(name, latent.backbone), EditorContract(), latent.backbone.embed(["a face"])
    contract.test_law_1_a_strength_changes_something(editor, latent, target)
    contract.test_law_4_costs_what_it_states(editor, latent, target)
    if len(latent) > 1:
        contract.test_law_3_neighbors_do_not_matter(editor, latent, target)


@pytest.mark.parametrize("name", ["asyrp", "freesliders", "sega"])
def test_returns_retrace_the_inversion_with_embedded_guidance(name: str) -> None:
    """The inversion uses a weight of 1, so the velocities subtracted from it must, too."""
    mixture = example_mixture(dimension=8, latent=(2, 2, 2))
    latent = dataclasses.replace(mixture_latent(mixture), backbone=guidance_distilled(mixture))
    editor = editor_class(name).from_dict({"steps": 4, **({"reference": "source"} if name == "sega" else {})})
    assert editor.keeps_equal_texts
    assert torch.equal(editor.edit(latent, latent.condition, [1.0])[0].z, latent.z)


WEIGHT_OF_ONE = ["chordedit", "diffedit", "flowalign", "flowslider", "ledits", "loco", "pullback", "steering-fields"]


@pytest.mark.slow_except("diffedit", "flowalign", "steering-fields", "turboedit")
@pytest.mark.parametrize("name", [*WEIGHT_OF_ONE, "turboedit"])
def test_guidance_distilled_networks_are_edited_as_their_teacher(name: str) -> None:
    """Editors without a weight in their settings use weight 1, not the published one."""
    teacher = example_mixture(dimension=8, latent=(2, 2, 2))
    latent, editor = mixture_latent(teacher), few_steps(name)
    student = dataclasses.replace(latent, backbone=guidance_distilled(teacher))
    expected, found = (editor.edit(each, teacher.embed(["c"]), [0.7])[0].z for each in (latent, student))
    assert relative_error(found, expected) < 1e-9


def test_registered_editors(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"eim", "sdedit", "inversion", "aligned-inversion", "flowedit", "flowslider"} <= set(EDITORS.names())
    assert all(editor_class(name).name == name for name in EDITORS.names())
    point = importlib.metadata.EntryPoint(name="odd", value="math:sqrt", group=EDITORS.group)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda: importlib.metadata.EntryPoints([point]))
    with pytest.raises(RegistryError):
        editor_class("odd")


class Judging(Editor):
    """An editor whose cost depends on the thresholds of the model, and on whether images are references."""

    name = "judging"

    def move(self, edit: Edit) -> Latents:
        Judge.of(edit.backbone).least_loss(edit.backbone, edit.x, edit.texts, seed=0)
        return edit.x + 1


@pytest.mark.parametrize("instructed", [False, True])
def test_a_cost_that_depends_on_the_model_and_on_the_images(instructed: bool) -> None:
    latent = latent_on("mixture")
    latent.backbone.defaults = {"judge": {"pairs": 3}}
    if instructed:
        text = dataclasses.replace(latent.condition, reference=(latent.z,))
        latent = dataclasses.replace(latent, condition=text)
    assert Judging().evaluations(latent) == (6 if instructed else 12)


class ReadsPixels(Editor):
    """An editor that cannot be rehearsed: no latent of one number has images."""

    name = "reads-pixels"

    def move(self, edit: Edit) -> Latents:
        return edit.x + edit.latent.frames[0].pixels.mean()


def test_an_editor_that_cannot_be_rehearsed_must_state_its_cost() -> None:
    latent = latent_on("mixture")
    with pytest.raises(RegistryError, match=r"'reads-pixels'.*`cost`"):
        ReadsPixels().evaluations(latent)
    stated = type("States", (ReadsPixels,), {"cost": lambda self, edit: 7})()
    assert stated.evaluations(latent) == 7


@pytest.mark.parametrize(
    ("name", "settings", "strength", "bound"),
    [
        ("sds", {}, -1.0, "0"),
        ("dds", {}, -0.1, "0"),
        ("sdedit", {"level": 0.8}, -0.1, "1.25"),
        ("sdedit", {"level": 0.8}, 1.5, "1.25"),
        ("steering-fields", {"attract": 3.0, "repel": 1.0}, -0.5, "-0.5"),
        ("steering-fields", {"attract": 1.0}, 1.5, "1"),
    ],
)
def test_undefined_strengths_are_rejected(name: str, settings: dict[str, Any], strength: float, bound: str) -> None:
    latent, editor = latent_on("mixture"), make(name, settings)
    with pytest.raises(ConfigError, match=bound):
        editor.edit(latent, latent.backbone.embed(["c"]), [strength])
    with pytest.raises(ConfigError, match=bound):
        editor.evaluations(latent, strength=strength)


SIGNS: list[Row] = [
    ("aligned-inversion", {"steps": 6}, 1e-2, "mixture"),
    ("flowedit", {"steps": 6, "target_guidance": 1.0}, 1e-2, "mixture"),
    ("asyrp", {"steps": 6}, 1e-2, "network"),
    ("chordedit", {}, 1e-2, "mixture"),
    ("dnaedit", {"steps": 6, "level": 0.6}, 1e-3, "own limit"),
    ("dvrf", {"steps": 6, "target_guidance": 1.0}, 1e-2, "mixture"),
    ("edit-friendly-ddpm", {"steps": 6}, 1e-2, "mixture"),
    ("fireflow", {"steps": 6}, 1e-3, "own limit"),
    ("flowalign", {"steps": 6, "guidance": 2.0}, 1e-2, "mixture"),
    ("flowslider", {"steps": 6}, 1e-2, "mixture"),
    ("freesliders", {"steps": 6}, 1e-2, "mixture"),
    ("loco", {"steps": 6, "rank": 2, "ratio": 2.0}, 1e-2, "mixture"),
    ("rf-inversion", {"steps": 6}, 1e-2, "mixture"),
    ("rf-solver", {"steps": 6}, 1e-3, "own limit"),
    ("splitflow", {"steps": 6, "target_guidance": 1.0}, 1e-2, "mixture"),
    ("steering-fields", {"steps": 6}, 1e-2, "mixture"),
    ("text-steering", {"steps": 6}, 1e-2, "mixture"),
    ("velocity-steering", {"steps": 6, "probes": 0}, 1e-2, "mixture"),
    ("uni-edit", {"steps": 6}, 1e-3, "own limit"),
]


@pytest.mark.slow_except(
    "aligned-inversion-settings0-0.01-mixture",
    "asyrp-settings2-0.01-network",
    "chordedit-settings3-0.01-mixture",
    "flowedit-settings1-0.01-mixture",
)
@pytest.mark.parametrize(("name", "settings", "size", "around"), SIGNS)
def test_t10_the_sign_flips_the_edit_to_first_order(
    name: str, settings: dict[str, Any], size: float, around: str
) -> None:
    """The even part of the edit is of second order: 100 times smaller strength, 100 times smaller share.

    Around the image, or around the result of `move` at strength 0, which `edit` does not call: some editors miss the
    image by their solver's error.
    """
    latent, editor = latent_on(around), make(name, settings)
    target, origin = latent.backbone.embed(["c"]).expand(len(latent)), latent.z
    if around == "own limit":
        origin = editor.move(Edit(name=name, latent=latent, target=target, strength=0.0))
        assert relative_error(origin, latent.z) > 1e-6

    def even_share(strength: float) -> float:
        forward, backward = (found.z - origin for found in editor.edit(latent, target, [strength, -strength]))
        return float(torch.linalg.vector_norm(forward + backward) / torch.linalg.vector_norm(forward - backward))

    coarse = even_share(size)
    assert coarse < 0.1
    assert even_share(size / 100) < 2e-2 * coarse + 1e-10


def all_settings() -> list[tuple[str, str]]:
    names = [name for name in EDITORS.names() if name != "eim"]
    return [(name, key) for name in names for key in editor_class(name)().to_dict()]


@pytest.mark.parametrize(("name", "setting"), all_settings())
def test_settings_out_of_range_are_rejected_by_name(name: str, setting: str) -> None:
    for value in (float("nan"), 1e9, -1e9, -(10**9), 10**9):
        with pytest.raises(ConfigError, match=setting):
            editor_class(name).from_dict({setting: value})


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("chordedit", "levels", (0.4, 0.5)),
        ("dds", "levels", (0.0, 0.0)),
        ("diffedit", "under", "target"),
        ("dnaedit", "eta", 0.0),
        ("dvrf", "offset", (-0.1, 1.0)),
        ("eim", "arm", "left"),
        ("eim", "level", 0.0),
        ("eim", "steps", 0),
        ("flowedit", "level", 0.0),
        ("flowedit", "steps", True),
        ("ledits", "reference", "target"),
        ("rf-inversion", "start", 0.5),
        ("sds", "step_size", 0.0),
        ("sega", "cool_down", 0.1),
        ("stable-flow", "layers", ()),
    ],
)
def test_invalid_settings_are_rejected_by_name(name: str, setting: str, value: object) -> None:
    with pytest.raises(ConfigError, match=setting):
        editor_class(name).from_dict({setting: value})
