import dataclasses

import pytest
import torch

from latentedit.directions.base import Direction
from latentedit.directions.hsds import HSDS, identify
from latentedit.editing.base import Editor
from latentedit.editing.eim import EIM, check_arm, manipulate
from latentedit.encoding.inversion import invert, replay
from latentedit.encoding.joint import JointLatent
from latentedit.errors import ConfigError
from latentedit.testing.contracts.editor import EditorContract
from latentedit.testing.gaussian_mixture import example_mixture
from latentedit.testing.tolerances import relative_error
from latentedit.types import Condition
from tests.directions.mixtures import mixture_latent


class TestImageArm(EditorContract):
    @pytest.fixture
    def editor(self) -> Editor:
        return EIM(arm="image", steps=4)


class TestTextArm(EditorContract):
    @pytest.fixture
    def editor(self) -> Editor:
        return EIM(arm="text", manipulate_steps=7, level=0.8)


class TestJointArm(EditorContract):
    @pytest.fixture
    def editor(self) -> Editor:
        return EIM(arm="joint", steps=1, noises=2, gamma=0.5, guidance=2.0, manipulate_steps=6)


@pytest.fixture
def latent() -> JointLatent:
    return mixture_latent(example_mixture(dimension=6))


@pytest.fixture
def target(latent: JointLatent) -> Condition:
    return latent.backbone.embed(["c"])


@pytest.fixture
def direction(latent: JointLatent, target: Condition) -> Direction:
    return identify(latent, target, HSDS(steps=4), seed=0)


def test_the_image_arm_adds_the_direction_and_evaluates_nothing(latent: JointLatent, direction: Direction) -> None:
    before = latent.backbone.evaluations
    edited = manipulate(latent, direction, strength=-1.7, arm="image", level=0.75, steps=28)
    assert torch.equal(edited, latent.z - 1.7 * direction.z)
    assert latent.backbone.evaluations == before


@pytest.mark.parametrize("arm", ["text", "joint"])
def test_the_other_arms_return_aligned(latent: JointLatent, direction: Direction, arm: str) -> None:
    edited = manipulate(latent, direction, strength=0.6, arm=arm, level=0.7, steps=9)
    trace = invert(latent, latent.path(9, 0.7))
    text = latent.condition + 0.6 * direction.condition
    offset = None if arm == "text" else 0.3 * 0.6 * direction.z
    assert relative_error(edited, replay(latent, trace, text, offset=offset)) < 1e-14
    other = None if arm == "joint" else 0.3 * 0.6 * direction.z
    assert relative_error(edited, replay(latent, trace, text, offset=other)) > 1e-3


def test_one_direction_serves_many_pictures(latent: JointLatent, direction: Direction) -> None:
    one = dataclasses.replace(direction, z=direction.z[:1], condition=direction.condition[:1])
    edited = manipulate(latent, one, strength=1.0, arm="joint", level=0.5, steps=6)
    assert edited.shape == latent.z.shape
    first = manipulate(latent, direction, strength=1.0, arm="joint", level=0.5, steps=6)
    assert relative_error(edited[:1], first[:1]) < 1e-14


def test_eim_is_identify_then_manipulate(latent: JointLatent, target: Condition) -> None:
    editor = EIM(arm="joint", gamma=-0.5, steps=3, level=0.6, manipulate_steps=8)
    direction = identify(latent, target, HSDS(gamma=-0.5, steps=3), seed=7)
    expected = manipulate(latent, direction, strength=0.9, arm="joint", level=0.6, steps=8)
    assert torch.equal(editor.edit(latent, target, strength=0.9, seed=7), expected)


def test_the_annealed_image_arm_reaches_the_counterfactual() -> None:
    backbone = example_mixture(dimension=6, shared_covariance=True)
    latent = mixture_latent(backbone, condition=backbone.only(0))
    edited = EIM(steps=64).edit(latent, backbone.only(1))
    assert relative_error(edited, backbone.counterfactual(latent.z, 0, 1)) < 1e-2


@pytest.mark.parametrize(
    ("editor", "expected"),
    [
        (EIM(), 32),
        (EIM(arm="text", level=0.75, manipulate_steps=28), 2 * 21),
        (EIM(arm="joint", steps=1, noises=4, level=0.75, manipulate_steps=28), 8 + 2 * 21),
        (EIM(arm="joint", gamma=1.0, level=0.71, manipulate_steps=10), 64 + 2 * 8),
    ],
)
def test_t12_costs(latent: JointLatent, editor: EIM, expected: int) -> None:
    """On the uniform grid: 21 steps below .75 of 28, and 8 below .71 of 10."""
    assert editor.evaluations(latent) == expected


@pytest.mark.parametrize("arm", ["image", "text", "joint"])
def test_strength_zero_needs_no_evaluation(latent: JointLatent, direction: Direction, arm: str) -> None:
    before = latent.backbone.evaluations
    assert manipulate(latent, direction, strength=0.0, arm=arm, level=0.5, steps=4) is latent.z
    assert latent.backbone.evaluations == before


def test_refuses_other_models_arms_and_levels(latent: JointLatent, direction: Direction) -> None:
    foreign = dataclasses.replace(direction, fingerprint="another")
    with pytest.raises(ConfigError, match="Identify it again"):
        manipulate(latent, foreign, strength=1.0, arm="image", level=0.5, steps=4)
    with pytest.raises(ConfigError, match="image, text, joint"):
        check_arm("left")
    with pytest.raises(ConfigError, match="level"):
        EIM(level=0.0)
    with pytest.raises(ConfigError, match="gamma"):
        EIM(gamma=2.0)
