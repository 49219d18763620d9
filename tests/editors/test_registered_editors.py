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

pytestmark = pytest.mark.nightly


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


@pytest.fixture(scope="session")
def questions(miniatures: dict[str, Backbone]) -> dict[str, tuple[JointLatent, Condition]]:
    """Two latents of each network without training, and a text for both, read once for all tests."""
    texts = ("a person with black hair", "a person, red wall")
    return {
        kind: (latent_of(backbone, 64, texts), backbone.embed(["a person with glasses"]))
        for kind, backbone in miniatures.items()
    }


class TestMiniatureTransformer(EditorContract):
    @pytest.fixture(params=EDITORS.names())
    def editor(self, request: pytest.FixtureRequest) -> Editor:
        return few_steps(request.param)

    @pytest.fixture
    def latent(self, questions: dict[str, tuple[JointLatent, Condition]]) -> JointLatent:
        return questions["transformer"][0]

    @pytest.fixture
    def target(self, questions: dict[str, tuple[JointLatent, Condition]]) -> Condition:
        return questions["transformer"][1]


@pytest.mark.parametrize("name", EDITORS.names())
def test_laws_1_3_and_4_on_a_unet(name: str, questions: dict[str, tuple[JointLatent, Condition]]) -> None:
    """What another kind of network can break: other layers, other levels, and noise that is predicted."""
    editor, contract, (latent, target) = few_steps(name), EditorContract(), questions["unet"]
    with latent.backbone.count() as counted:
        contract.test_law_3_neighbours_do_not_matter(editor, latent, target)
    assert counted.evaluations == 2 * len(latent) * editor.evaluations(latent, strength=contract.strength)
    contract.test_law_1_a_strength_changes_something(editor, latent, target)


def test_there_are_editors() -> None:
    """Twenty-four ship with the package; a new one is tested here as soon as it is registered."""
    assert len(EDITORS.names()) >= 24
