"""The analytic backbone: its contract, its words, its shapes, and its variance-preserving twin."""

import pytest
import torch

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.models.guidance import GuidedField
from latentedit.numerics.flow import Prediction, alpha_sigma_from_level, clean_estimate
from latentedit.numerics.rng import draw, stream
from latentedit.numerics.schedule import DiscreteSchedule, scaled_linear_schedule
from latentedit.numerics.solvers import MidpointSolver, integrate
from latentedit.testing.contracts.backbone import BackboneContract
from tests.testing.gaussian_mixture import TEXT_TOKENS, GaussianMixtureBackbone, example_mixture
from tests.testing.tolerances import relative_error
from tests.testing.vp_mixture import VariancePreservingMixture, linear_schedule


class TestGaussianMixture(BackboneContract):
    @pytest.fixture(params=[{}, {"dimension": 12, "latent": (3, 2, 2), "dtype": torch.float32}])
    def backbone(self, request: pytest.FixtureRequest) -> GaussianMixtureBackbone:
        return example_mixture(**request.param)


def test_words_add_to_log_weights_in_any_order() -> None:
    backbone = example_mixture()
    weights = backbone.weights.log_weights(backbone.embed(["", "a", "a a", "a b", "b a"]))
    assert torch.allclose(weights[0].exp(), torch.full((3,), 1 / 3, dtype=torch.float64))
    odds = weights[:, 0] - weights[:, 2]
    assert odds.tolist() == pytest.approx([0, 3, 6, 3, 3])
    assert (weights[3:, 0] - weights[3:, 1]).tolist() == pytest.approx([0, 0])
    assert backbone.weights.log_weights(backbone.only(1)).exp().tolist() == [[0, 1, 0]]


def test_fingerprints_caption_notes_and_missing_pixels() -> None:
    backbone = example_mixture()
    notes = backbone.caption_notes(["a zebra", " ".join("b" * (TEXT_TOKENS + 1))])
    assert len(notes) == 2
    assert "zebra" in notes[0]
    assert str(TEXT_TOKENS) in notes[1]
    assert backbone.caption_notes(["a b c"]) == []
    assert example_mixture().fingerprint == example_mixture().fingerprint
    assert example_mixture().fingerprint != example_mixture(seed=1).fingerprint
    assert not backbone.capabilities.pixels
    with pytest.raises(ConfigError):
        backbone.encode(torch.zeros(1, 3, 4, 4))
    with pytest.raises(ConfigError):
        backbone.decode(torch.zeros(1, 5))


def test_the_latent_shape_does_not_change_values() -> None:
    flat, square = example_mixture(dimension=12), example_mixture(dimension=12, latent=(3, 2, 2))
    z, s = draw((2, 12), seed=0, purpose="shape").double(), torch.tensor([0.3, 0.8], dtype=torch.float64)
    v = square.velocity(z.reshape(2, 3, 2, 2), s, square.embed(["a"]))
    assert torch.equal(v.flatten(1), flat.velocity(z, s, flat.embed(["a"])))
    assert square.counterfactual(z.reshape(2, 3, 2, 2), 0, 1).shape == (2, 3, 2, 2)
    with pytest.raises(ShapeError):
        example_mixture(dimension=12, latent=(3, 2))
    with pytest.raises(ShapeError):
        square.velocity(z.reshape(2, 2, 2, 3), s, square.embed(["a"]))


KINDS: list[Prediction] = ["epsilon", "v_prediction", "sample", "flow"]


def vp_twin(
    flow: GaussianMixtureBackbone, prediction: Prediction, schedule: DiscreteSchedule | None = None
) -> VariancePreservingMixture:
    return VariancePreservingMixture(flow, schedule=schedule or scaled_linear_schedule(), prediction=prediction)


class TestVariancePreservingTwin(BackboneContract):
    @pytest.fixture(params=[("epsilon", None), ("v_prediction", linear_schedule())])
    def backbone(self, request: pytest.FixtureRequest) -> VariancePreservingMixture:
        return vp_twin(example_mixture(), *request.param)


@pytest.mark.parametrize("prediction", KINDS)
def test_t1_twins_have_equal_clean_estimates(prediction: Prediction) -> None:
    flow = example_mixture()
    vp = vp_twin(flow, prediction)
    s = torch.linspace(vp.capabilities.s_min, vp.capabilities.s_max, 7, dtype=torch.float64)
    z = draw((7, 5), seed=0, purpose="twins").double()
    condition = flow.embed(["a"])
    vp_clean, flow_clean = (clean_estimate(z, s, backbone.velocity(z, s, condition)) for backbone in (vp, flow))
    # log-SNR to time and back, then 1 / alpha (15 at s_max) or 1 / sigma (35 at s_min), amplify rounding errors.
    assert relative_error(vp_clean, flow_clean) <= 1e-10
    assert relative_error(vp_clean, flow.at(z, s, flow.embed(["b"])).clean) > 1e-2


def test_t1_twins_sample_the_same_latents() -> None:
    flow = example_mixture()
    vp = vp_twin(flow, "epsilon")
    start = vp.draw_start((2, 5), generator=stream(0, "twins"))
    grid = vp.grid(5)
    ends = [
        integrate(GuidedField(backbone=backbone, condition=flow.embed(["a"])), start, grid.levels, MidpointSolver())
        for backbone in (flow, vp)
    ]
    assert relative_error(ends[1], ends[0]) <= 1e-10


def test_sampling_starts_with_the_standard_deviation_of_the_schedule() -> None:
    vp = vp_twin(example_mixture(), "epsilon")
    assert vp.capabilities.start_std == pytest.approx(0.938, abs=5e-4)
    # x_T ~ N(0, I) in model coordinates is z = x_T / (alpha + sigma).
    start = vp.draw_start((4000, 5), generator=stream(0, "row 26"))
    alpha, sigma = alpha_sigma_from_level(torch.tensor([vp.capabilities.s_max], dtype=torch.float64))
    error = 1 / (2 * start.numel()) ** 0.5
    assert float(start.std() * (alpha + sigma)) == pytest.approx(1, abs=4 * error)
    assert float(start.std()) != pytest.approx(1, abs=4 * error)
