"""Every registered editor: its laws on miniatures of both kinds of network."""

from pathlib import Path

import pytest

from latentedit.core.condition import Condition
from latentedit.core.plugins import EDITORS
from latentedit.core.rng import draw
from latentedit.editors.base import Editor
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.registry import load
from latentedit.testing.contracts.editor import EditorContract
from latentedit.testing.miniature import miniature_sd, miniature_sd3
from tests.editors.few_steps import few_steps


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


def test_there_are_editors() -> None:
    """Twenty-four ship with the package; a new one is tested here as soon as it is registered."""
    assert len(EDITORS.names()) >= 24
