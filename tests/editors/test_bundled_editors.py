"""Every registered editor: its laws on miniatures of both kinds of network, its cost on both bundled models."""

import functools
from pathlib import Path

import pytest
import torch

from latentedit.core.condition import Condition
from latentedit.core.plugins import EDITORS
from latentedit.core.rng import draw
from latentedit.editors.base import Editor
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.registry import load
from latentedit.testing.contracts.editor import EditorContract
from latentedit.testing.miniature import miniature_sd, miniature_sd3
from latentedit.testing.tolerances import relative_error
from tests.editors.few_steps import few_steps

TEXT = "a person with pale skin, short brown hair, a smile, no glasses, a red hoodie, on a blue background"
WANTED = "a person with pale skin, short brown hair, a smile, glasses, a red hoodie, on a blue background"


@pytest.fixture(scope="session")
def miniatures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Backbone]:
    folder: Path = tmp_path_factory.mktemp("miniatures")
    return {
        "transformer": load(miniature_sd3(folder / "sd3", t5=False), device="cpu"),
        "unet": load(miniature_sd(folder / "sd"), device="cpu"),
    }


def latent_of(backbone: Backbone, side: int, texts: tuple[str, ...]) -> JointLatent:
    """Latents of the model's scale."""
    z = draw((len(texts), *backbone.latent_shape(side, side)), seed=0, purpose="contract").to(backbone.dtype)
    return JointLatent(backbone=backbone, z=z, condition=backbone.embed(texts), captions=texts)


class MiniatureContract(EditorContract):
    """Two latents of a network without training."""

    kind = ""

    @pytest.fixture(params=EDITORS.names())
    def editor(self, request: pytest.FixtureRequest) -> Editor:
        return few_steps(request.param)

    @pytest.fixture
    def backbone(self, miniatures: dict[str, Backbone]) -> Backbone:
        return miniatures[self.kind]

    @pytest.fixture
    def latent(self, backbone: Backbone) -> JointLatent:
        return latent_of(backbone, 64, ("a person with black hair", "a person, red wall"))

    @pytest.fixture
    def target(self, backbone: Backbone) -> Condition:
        return backbone.embed(["a person with glasses"])


class TestMiniatureTransformer(MiniatureContract):
    kind = "transformer"


class TestMiniatureUNet(MiniatureContract):
    kind = "unet"


@functools.cache
def bundled(name: str) -> JointLatent:
    """One latent: what several cost is law 4."""
    return latent_of(load(name, device="cpu"), 128, (TEXT,))


@pytest.mark.parametrize("name", EDITORS.names())
@pytest.mark.parametrize("model", ["portraits", "portraits-unet"])
def test_on_a_bundled_model_a_strength_changes_something_at_the_cost_that_it_says(model: str, name: str) -> None:
    latent, editor = bundled(model), few_steps(name)
    with latent.backbone.count() as cost:
        (edited,) = editor.edit(latent, latent.backbone.embed([WANTED]), [0.8])
    assert cost.evaluations == editor.evaluations(latent, strength=0.8) > 0
    assert edited.z.dtype == latent.z.dtype
    assert bool(torch.isfinite(edited.z).all())
    assert relative_error(edited.z, latent.z) > 1e-3


def test_there_are_editors() -> None:
    """Twenty-four ship with the package; a new one is tested here as soon as it is registered."""
    assert len(EDITORS.names()) >= 24
