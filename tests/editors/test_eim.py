"""EIM against its parts, law T10, and its identity with FlowEdit."""

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

import latentedit
from latentedit.editors import FlowEdit
from latentedit.editors.base import Editor, make_editor
from latentedit.editors.eim import EIM, Slider
from latentedit.editors.judge import Judge
from latentedit.encoding.joint import JointLatent
from latentedit.identification.hsds import HSDS, find_direction
from latentedit.identification.locality import along, change_share
from latentedit.models.base import Backbone
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import level_batch, shift_level
from latentedit.numerics.rng import Seed, noise_like
from latentedit.testing.contracts.editor import EditorContract
from tests.editors.colors import ColorBackbone
from tests.editors.models import on_shifted_grid
from tests.identification.mixtures import mixture_latent
from tests.testing.gaussian_mixture import example_mixture
from tests.testing.tolerances import relative_error

LOCAL = HSDS(
    levels=(0.95, 0.0),
    shift=2.5,
    steps=3,
    step_size=None,
    noises=2,
    antithetic=True,
    keep_source=0.01,
    drop_residual=0.3,
)
"""A search with every setting that needs no derivative."""

CASES: list[tuple[EIM, float]] = [
    (EIM(arm="image", search=HSDS(steps=4)), -1.3),
    (EIM(arm="image", search=LOCAL), 1.6),
    (EIM(arm="text", steps=7, level=0.8), -0.3),
    (EIM(arm="joint", search=HSDS(steps=1, noises=2, gamma=0.5, guidance=2.0), steps=6), 1.4),
    (EIM(arm="joint", search=dataclasses.replace(LOCAL, gamma=-0.5), steps=6), 1.0),
]


class TestEIM(EditorContract):
    @pytest.fixture
    def backbone(self) -> Backbone:
        return example_mixture(dimension=6, latent=(2, 3))

    @pytest.fixture(params=CASES, ids=lambda case: f"{case[0].arm}-{case[1]}")
    def editor(self, request: pytest.FixtureRequest) -> Editor:
        editor, self.strength = request.param
        return editor


class TestSinglePrecision(TestEIM):
    @pytest.fixture
    def backbone(self) -> Backbone:
        return example_mixture(dimension=6, latent=(2, 3), dtype=torch.float32)

    @pytest.fixture
    def editor(self) -> Editor:
        self.strength = 1.2
        return EIM(arm="image", search=LOCAL)


@pytest.mark.parametrize("strength", [1.0, 0.6, -0.4])
def test_eim_is_identify_then_slide(latent: JointLatent, target: Condition, strength: float) -> None:
    search = HSDS(gamma=-0.5, steps=3)
    editor = EIM(arm="joint", search=search, level=0.6, steps=8)
    direction = find_direction(latent, target, search, seed=7)
    slider = Slider(latent=latent, direction=direction, arm="joint", level=0.6, steps=8, judge=Judge(), seed=7)
    expected = slider.edit([strength])[0].z
    assert torch.equal(editor.edit(latent, target, [strength], seed=7)[0].z, expected)
    assert torch.equal(editor.direction(latent, target, seed=7).z, direction.z)


def test_the_text_arm_needs_no_search(latent: JointLatent, target: Condition) -> None:
    with latent.backbone.count() as cost:
        direction = EIM(arm="text", level=0.6).direction(latent, target.expand(3), seed=5)
    assert cost.evaluations == 0
    assert not direction.z.any()
    assert torch.equal((latent.condition + direction.condition).tokens, target.expand(3).tokens)
    assert direction.level == 0.6
    assert direction.settings == {"seed": 5}, "the seed of the judge"


def test_the_annealed_image_arm_reaches_the_counterfactual() -> None:
    backbone = example_mixture(dimension=6, shared_covariance=True)
    latent = mixture_latent(backbone, condition=backbone.only(0))
    edited = EIM(search=HSDS(steps=64)).edit(latent, backbone.only(1), [1.0])[0].z
    assert relative_error(edited, backbone.counterfactual(latent.z, 0, 1)) < 1e-2


@pytest.mark.parametrize("arm", ["image", "text", "joint"])
def test_t10_the_sign_flips_the_edit_to_first_order(latent: JointLatent, arm: str) -> None:
    """The law of all editors, but for scales, since curves of strengths have a kink at 0."""
    editor = EIM.from_dict({"arm": arm, "search": {"steps": 2}, "steps": 6})
    direction = editor.direction(latent, latent.backbone.embed(["c"]).expand(len(latent)), seed=0)

    def even_share(scale: float) -> float:
        scales = torch.tensor([[scale], [-scale]], dtype=torch.float64).expand(2, len(latent))
        forward, backward = editor.slider(latent, direction, seed=0).move(scales) - latent.z
        return float(torch.linalg.vector_norm(forward + backward) / torch.linalg.vector_norm(forward - backward))

    assert even_share(1e-2) < 0.1
    assert even_share(1e-4) < 2e-2 * even_share(1e-2) + 1e-10


class FlowEditNoise(HSDS):
    """A search with the noises of FlowEdit, which has its own random stream."""

    def draw(self, z: Tensor, *, seed: Seed, index: int) -> Tensor:
        return noise_like(z, seed=seed, purpose="flowedit", index=index, count=self.noises)


@pytest.mark.parametrize(
    ("level", "shift", "noises", "guidance"), [(1.0, 1.0, 1, 2.5), (0.8, 1.0, 3, 1.0), (1.0, 3.0, 3, 2.5)]
)
def test_annealing_with_the_steps_of_the_flow_is_flowedit(
    latent: JointLatent, level: float, shift: float, noises: int, guidance: float
) -> None:
    """Down to level 0, where FlowEdit's displacement is the direction itself."""
    latent = on_shifted_grid(latent, shift)
    target = latent.backbone.embed(["c"])
    editor = FlowEdit(level=level, steps=10, source_guidance=guidance, target_guidance=guidance, noises=noises)
    steps = latent.path(10, level).steps
    settings: dict[str, Any] = {"steps": steps, "step_size": None, "noises": noises, "guidance": guidance}
    search = FlowEditNoise(levels=(level, 0.0), shift=shift, **settings)
    expected = editor.edit(latent, target, [1.0], seed=6)[0].z
    direction = find_direction(latent, target, search, seed=6)
    assert relative_error(direction.z, expected - latent.z) < 1e-12
    assert relative_error(EIM(search=search).edit(latent, target, [1.0], seed=6)[0].z, expected) < 1e-12
    assert search.evaluations() == editor.evaluations(latent)
    other_shift = FlowEditNoise(levels=(level, 0.0), shift=shift * 1.1, **settings)
    assert relative_error(find_direction(latent, target, other_shift, seed=6).z, expected - latent.z) > 1e-4


@pytest.mark.slow
def test_the_stored_search_matches_its_documented_formulas() -> None:
    model, search = ColorBackbone(), make_editor("eim", latentedit.load("portraits")).to_dict()["search"]
    x = torch.linspace(-0.5, 0.5, 2 * 3 * 64, dtype=torch.float64).reshape(2, 3, 8, 8)
    latent = JointLatent(backbone=model, z=x, condition=model.embed(["red"] * 2), captions=("red",) * 2)
    target, d = model.embed(["green", "blue"]), torch.zeros_like(x)
    levels = [0.99 * shift_level(1 - k / 4, 1.28) for k in range(5)]

    def share(floor: float) -> Tensor | float:
        return change_share(d, floor) if d.any() else 1.0

    for k, (s, after) in enumerate(itertools.pairwise(levels)):
        half = noise_like(x, seed=4, purpose="hsds", index=k)
        e = torch.stack([half, -half])
        x_s = (1 - s) * x + s * e
        y_s = x_s + (1 - s) * d
        source, old, t = (
            torch.stack([z - s * model.velocity(z, level_batch(s, z), text) for z in points])
            for points, text in ((x_s, latent.condition), (y_s, latent.condition), (y_s, target))
        )
        q = x - source
        if k in (0, 3):
            t = t + 0.25 * (t - old)
        r = (t + q - share(0.3) ** 2 * along(q, d)).mean(0) - x - d
        d = d + (s - after) / (s * (1 - after)) * (share(0.004) * (d + r) - d)
    found = EIM.from_dict({"search": search}).direction(latent, target, seed=4).z
    torch.testing.assert_close(found, d, rtol=1e-6, atol=1e-6)
