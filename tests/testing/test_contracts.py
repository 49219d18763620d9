"""Contracts catch faulty implementations, each fault by the test of the law that it breaks."""

import dataclasses
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from latentedit.core.errors import CoordinateError, UnsupportedDerivativeError
from latentedit.editors.base import Editor
from latentedit.editors.edit import Edit
from latentedit.encoding.captions.base import Captioner
from latentedit.encoding.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.numerics.condition import Condition
from latentedit.numerics.cost import spend
from latentedit.numerics.flow import level_batch
from latentedit.numerics.operator import LinearOperator
from latentedit.numerics.rng import draw, seeded
from latentedit.testing.contracts.backbone import BackboneContract
from latentedit.testing.contracts.captioner import CaptionerContract
from latentedit.testing.contracts.editor import EditorContract
from latentedit.testing.contracts.operator import OperatorContract
from tests.identification.mixtures import mixture_latent
from tests.numerics.dense import random_matrices, random_vectors
from tests.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture

BACKBONE_FAULTS = {
    "mixes batch": "test_law_1_batch_invariance",
    "stateful": "test_law_2_pure_function",
    "ignores inputs": "test_law_2_level_and_text_matter",
    "counts twice": "test_law_3_evaluations_are_counted",
    "global noise": "test_law_6_global_random_state_is_untouched",
    "detached": "test_jvp_agrees_with_differences",
}


def broken_backbone(fault: str) -> GaussianMixtureBackbone:
    """A mixture whose velocity has one fault."""
    backbone, calls = example_mixture(), list[int]()
    hook = backbone._velocity

    def velocity(z: Tensor, s: Tensor, condition: Condition) -> Tensor:
        calls.append(1)
        if fault == "global noise":
            torch.rand(1)
        if fault == "counts twice":
            spend(backbone, len(z))
        if fault == "mixes batch":
            z = z - 0.1 * z.mean(0)
        v = hook(
            z.detach() if fault == "detached" else z, s, condition * 0.0 if fault == "ignores inputs" else condition
        )
        return v * (1 + len(calls) * 1e-6) if fault == "stateful" else v

    backbone._velocity = velocity
    return backbone


@pytest.mark.parametrize("fault", BACKBONE_FAULTS)
@seeded(0)
def test_broken_backbones_are_caught(fault: str) -> None:
    def check(backbone: Backbone) -> None:
        latent = torch.stack([draw((5,), seed=0, purpose="contract", index=index) for index in range(2)]).double()
        levels = torch.tensor([0.7, 0.4], dtype=torch.float64)
        getattr(BackboneContract(), BACKBONE_FAULTS[fault])(backbone, latent, levels, backbone.embed(["a", "b"]))

    check(broken_backbone(""))
    with pytest.raises((AssertionError, UnsupportedDerivativeError)):  # which the test of derivatives finds itself
        check(broken_backbone(fault))


class Brightness(Captioner):
    """Describes the brightness of an image, optionally with a fault."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.calls = 0

    def caption(self, pixels: Tensor) -> list[str]:
        self.calls += 1
        means = pixels.mean(dim=(1, 2, 3))
        if self.fault == "neighbors":
            means = means - means.mean()
        if self.fault == "global noise":
            means = means + 1e-2 * torch.rand(())
        if self.fault == "stateful":
            means = means + self.calls
        if self.fault == "in place":
            pixels.neg_()
        if self.fault == "ignores pixels":
            means = torch.zeros_like(means)
        captions = [f"an image of brightness {float(mean):.4f}" for mean in means]
        if self.fault == "missing caption":
            return captions[1:]
        if self.fault == "empty caption":
            return ["", *captions[1:]]
        return [f"{caption}." for caption in captions] if self.fault == "ends with a period" else captions


CAPTIONER_FAULTS = {
    "missing caption": "test_one_line_of_text_each",
    "empty caption": "test_one_line_of_text_each",
    "ends with a period": "test_one_line_of_text_each",
    "in place": "test_one_line_of_text_each",
    "neighbors": "test_law_1_neighbors_do_not_matter",
    "ignores pixels": "test_law_1_neighbors_do_not_matter",
    "global noise": "test_law_2_deterministic",
    "stateful": "test_law_2_deterministic",
}


@pytest.mark.parametrize("fault", CAPTIONER_FAULTS)
@seeded(0)
def test_broken_captioners_are_caught(fault: str) -> None:
    check = getattr(CaptionerContract(), CAPTIONER_FAULTS[fault])
    pixels = torch.linspace(-1, 1, 3)[:, None, None, None] * torch.ones(3, 3, 4, 4)
    check(Brightness(), pixels.clone())
    with pytest.raises(AssertionError):
        check(Brightness(fault), pixels.clone())


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BrokenEditor(Editor):
    name: ClassVar[str] = "broken"

    fault: str = "none"

    @property
    def keeps_equal_texts(self) -> bool:
        return True

    def evaluations(self, latent: JointLatent, *, strength: float = 1.0) -> int:
        return 0 if strength == 0 and self.fault != "costs at zero" else 1

    def cost(self, edit: Edit) -> int:
        return 1

    def move(self, edit: Edit) -> Tensor:
        s = torch.full((len(edit.latent),), 0.5, dtype=edit.x.dtype)
        v = edit.backbone.velocity(edit.x, s, edit.target) - edit.backbone.velocity(edit.x, s, edit.latent.condition)
        if self.fault == "none":
            spend(edit.backbone, -len(edit.latent))
        if self.fault == "global noise":
            v = v + torch.rand_like(v)  # noqa: TID251  # the fault
        if self.fault == "neighbors":
            v = v - v.mean(0)
        return edit.x + edit.strength * v + (0.01 if self.fault == "drift" else 0.0)


EDITOR_FAULTS = {
    "costs at zero": "test_law_1_strength_zero_is_the_identity",
    "global noise": "test_law_2_same_seed_same_result",
    "neighbors": "test_law_3_neighbors_do_not_matter",
    "cost": "test_law_4_costs_what_it_states",
    "drift": "test_law_5_equal_texts",
}


@pytest.mark.parametrize("fault", EDITOR_FAULTS)
@seeded(0)
def test_broken_editors_are_caught(fault: str) -> None:
    backbone = example_mixture(dimension=4)
    latent, target = mixture_latent(backbone), backbone.embed(["c"])
    check = getattr(EditorContract(), EDITOR_FAULTS[fault])
    args = (latent,) if fault == "drift" else (latent, target)
    check(BrokenEditor(), *args)
    with pytest.raises(AssertionError):
        check(BrokenEditor(fault=fault), *args)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CleanEndEditor(Editor):
    """Evaluates velocities at the clean end of a path, as the last of Heun's steps does."""

    name: ClassVar[str] = "clean-end"

    clipped: bool

    def move(self, edit: Edit) -> Tensor:
        s = level_batch(edit.path(4).levels[-1], edit.x)
        if self.clipped:
            source, target = (field(edit.x, s) for field in edit.two_fields(1.0, 2.0))
        else:
            source, target = (edit.backbone.velocity(edit.x, s, text) for text in edit.texts)
        return edit.x + edit.strength * (target - source)


def test_velocities_below_the_lowest_level_of_a_model_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = example_mixture(dimension=4)
    latent, target = mixture_latent(backbone), backbone.embed(["c"])
    check = EditorContract().test_runs_where_the_model_has_a_lowest_level
    check(CleanEndEditor(clipped=True), latent, target, monkeypatch)
    with pytest.raises(CoordinateError, match="must lie in"):
        check(CleanEndEditor(clipped=False), latent, target, monkeypatch)


MATRICES = random_matrices(3, 4)


class BrokenOperator(LinearOperator):
    def __init__(self, fault: str) -> None:
        super().__init__(shape=(3, 4), dtype=torch.float64, device=torch.device("cpu"))
        self.fault = fault

    def _matvec(self, u: Tensor) -> Tensor:
        product = torch.einsum("bij,bj->bi", MATRICES, u)
        if self.fault == "nonlinear":
            product = product + 1e-3 * u**2
        if self.fault == "neighbors":
            product = product + 1e-3 * u.sum(0)
        if self.fault == "constant":
            product = product + 1e-3
        return product.nan_to_num() if self.fault == "hides nan" else product

    def _rmatvec(self, u: Tensor) -> Tensor:
        if self.fault == "no transpose":
            raise UnsupportedDerivativeError("no")
        return torch.einsum("bij,bj->bi" if self.fault == "not transposed" else "bji,bj->bi", MATRICES, u)

    def matvec(self, u: Tensor) -> Tensor:
        return self._matvec(u) if self.fault == "unchecked" else super().matvec(u)


OPERATOR_FAULTS = {
    "nonlinear": "test_law_1_linearity",
    "not transposed": "test_law_2_adjoint",
    "neighbors": "test_law_3_elements_are_independent",
    "hides nan": "test_law_3_elements_are_independent",
    "constant": "test_law_4_zero_to_zero",
}


@pytest.mark.parametrize("fault", OPERATOR_FAULTS)
def test_broken_operators_are_caught(fault: str) -> None:
    check = getattr(OperatorContract(), OPERATOR_FAULTS[fault])
    u, w = random_vectors(3, 4), random_vectors(3, 4, seed=1)
    args = (u,) if fault == "constant" else (u, w)
    check(BrokenOperator(""), *args)
    with pytest.raises(AssertionError):
        check(BrokenOperator(fault), *args)


def test_unchecked_arguments_and_undeclared_transposes_are_caught() -> None:
    class WithoutTranspose(OperatorContract):
        transpose = False

    u, w = random_vectors(3, 4), random_vectors(3, 4, seed=1)
    OperatorContract().test_law_5_wrong_arguments_are_refused(BrokenOperator(""), u)
    # either nothing is raised, or an error of PyTorch or of the runtime checks of annotations
    with pytest.raises((pytest.fail.Exception, RuntimeError, TypeError)):
        OperatorContract().test_law_5_wrong_arguments_are_refused(BrokenOperator("unchecked"), u)
    with pytest.raises(UnsupportedDerivativeError):
        OperatorContract().test_law_2_adjoint(BrokenOperator("no transpose"), u, w)
    with pytest.raises(AssertionError):
        WithoutTranspose().test_law_2_adjoint(BrokenOperator("no transpose"), u, w)
    with pytest.raises(pytest.fail.Exception):
        WithoutTranspose().test_law_2_adjoint(BrokenOperator(""), u, w)
