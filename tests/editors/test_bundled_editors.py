"""Every registered editor keeps its contract on both bundled models, at few steps."""

import functools

import pytest

from latentedit.core.condition import Condition
from latentedit.core.rng import draw
from latentedit.editors.base import Editor
from latentedit.editors.registry import editor_names
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.registry import load
from latentedit.testing.contracts.editor import EditorContract
from tests.editors.few_steps import few_steps

TEXTS = (
    "a person with pale skin, short brown hair, a smile, no glasses, a red hoodie, on a blue background",
    "a person with dark skin, a pink bob, a serious mouth, no glasses, green overalls, on a white background",
)
WANTED = "a person with pale skin, short brown hair, a smile, glasses, a red hoodie, on a blue background"


@functools.cache
def bundled(name: str) -> Backbone:
    return load(name, device="cpu")


class BundledContract(EditorContract):
    """Two latents of the model's scale under captions that it knows."""

    model = ""

    @pytest.fixture(params=editor_names())
    def editor(self, request: pytest.FixtureRequest) -> Editor:
        return few_steps(request.param)

    @pytest.fixture
    def backbone(self) -> Backbone:
        return bundled(self.model)

    @pytest.fixture
    def latent(self, backbone: Backbone) -> JointLatent:
        z = draw((2, *backbone.latent_shape(128, 128)), seed=0, purpose="contract").to(backbone.dtype)
        return JointLatent(backbone=backbone, z=z, condition=backbone.embed(TEXTS), captions=TEXTS)

    @pytest.fixture
    def target(self, backbone: Backbone) -> Condition:
        return backbone.embed([WANTED])


class TestTransformer(BundledContract):
    model = "portraits"


class TestUNet(BundledContract):
    model = "portraits-unet"


def test_there_are_editors() -> None:
    """Twenty-four ship with the package; a new one is tested here as soon as it is registered."""
    assert len(editor_names()) >= 24
