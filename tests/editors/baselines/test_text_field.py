import pytest
import torch

from latentedit.core.errors import CoordinateError
from latentedit.core.rng import draw
from latentedit.editors.baselines.text_field import text_field
from latentedit.models.guidance import GuidedField
from latentedit.testing.gaussian_mixture import example_mixture
from tests.directions.mixtures import levels_of, mixture_latent
from tests.editors.baselines.vp_models import vp_model


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_within_the_models_levels_it_is_the_guided_field(guidance: float, level: float) -> None:
    latent = mixture_latent(example_mixture(dimension=6))
    text, s = latent.backbone.embed(["c"]).expand(3), levels_of(latent.z, level)
    expected = GuidedField(backbone=latent.backbone, condition=text, guidance=guidance)(latent.z, s)
    assert torch.equal(text_field(latent, text, guidance=guidance)(latent.z, s), expected)


def test_outside_them_the_nearest_level_is_asked() -> None:
    model = vp_model()
    latent = mixture_latent(model)
    z = draw((3, 2, 3), seed=0, purpose="tests").double()
    field, known = text_field(latent, latent.condition), model.capabilities
    assert 0 < known.s_min < known.s_max < 1
    for outside, nearest in ((0.0, known.s_min), (1.0, known.s_max)):
        with pytest.raises(CoordinateError):
            model.velocity(z, levels_of(z, outside), latent.condition)
        assert torch.equal(field(z, levels_of(z, outside)), model.velocity(z, levels_of(z, nearest), latent.condition))
