"""T1 and row 26: the variance-preserving twin gives the same answers through the maps between coordinates."""

import pytest
import torch

from latentedit.core.errors import CoordinateError
from latentedit.core.flow import Prediction, clean_estimate
from latentedit.core.rng import draw, stream
from latentedit.core.schedule import DiscreteSchedule, linear_schedule, scaled_linear_schedule
from latentedit.core.solvers.integrate import sample
from latentedit.core.solvers.midpoint import MidpointSolver
from latentedit.models.guidance import GuidedField
from latentedit.testing.contracts.backbone import BackboneContract
from latentedit.testing.gaussian_mixture import GaussianMixtureBackbone, example_mixture
from latentedit.testing.tolerances import relative_error
from latentedit.testing.vp_mixture import VariancePreservingMixture

KINDS: list[Prediction] = ["epsilon", "v_prediction", "sample", "flow"]


def twin(
    flow: GaussianMixtureBackbone, prediction: Prediction, schedule: DiscreteSchedule | None = None
) -> VariancePreservingMixture:
    return VariancePreservingMixture(
        mixture=flow.mixture,
        weights=flow.weights,
        schedule=schedule or scaled_linear_schedule(),
        prediction=prediction,
    )


class TestTwin(BackboneContract):
    @pytest.fixture(params=[("epsilon", None), ("v_prediction", linear_schedule())])
    def backbone(self, request: pytest.FixtureRequest) -> VariancePreservingMixture:
        return twin(example_mixture(), *request.param)


@pytest.mark.parametrize("prediction", KINDS)
def test_t1_twins_have_equal_clean_estimates(prediction: Prediction) -> None:
    flow = example_mixture()
    vp = twin(flow, prediction)
    s = torch.linspace(vp.capabilities.s_min, vp.capabilities.s_max, 7, dtype=torch.float64)
    z = draw((7, 5), seed=0, purpose="twins").double()
    condition = flow.embed(["a"])
    ours, theirs = (clean_estimate(z, s, backbone.velocity(z, s, condition)) for backbone in (vp, flow))
    # log-SNR to time and back, then 1 / alpha (15 at s_max) or 1 / sigma (35 at s_min), multiply the rounding.
    assert relative_error(ours, theirs) <= 1e-10
    assert relative_error(ours, flow.at(z, s, flow.embed(["b"])).clean) > 1e-2


def test_t1_twins_sample_the_same_latents() -> None:
    flow = example_mixture()
    vp = twin(flow, "epsilon")
    start = vp.draw_start((2, 5), generator=stream(0, "twins"))
    grid = vp.grid(5)
    ends = [
        sample(GuidedField(backbone=backbone, condition=flow.embed(["a"])), start, grid, MidpointSolver()).final
        for backbone in (flow, vp)
    ]
    assert relative_error(ends[1], ends[0]) <= 1e-10


def test_row_26_sampling_starts_with_the_deviation_of_the_schedule() -> None:
    vp = twin(example_mixture(), "epsilon")
    assert vp.capabilities.start_std == pytest.approx(0.938, abs=5e-4)
    # x_T ~ N(0, I) in the model's own coordinates is z = x_T / (alpha + sigma).
    start = vp.draw_start((4000, 5), generator=stream(0, "row 26"))
    alpha, sigma = vp.schedule.alpha_sigma(torch.tensor([vp.capabilities.s_max], dtype=torch.float64))
    error = 1 / (2 * start.numel()) ** 0.5
    assert float(start.std() * (alpha + sigma)) == pytest.approx(1, abs=4 * error)
    assert float(start.std()) != pytest.approx(1, abs=4 * error)


@pytest.mark.parametrize("level", [0.0, 0.02, 0.95, 1.0])
def test_row_26_levels_the_network_never_saw_are_refused(level: float) -> None:
    vp = twin(example_mixture(), "epsilon")
    with pytest.raises(CoordinateError, match="vp-mixture"):
        vp.velocity(torch.zeros(1, 5, dtype=torch.float64), torch.tensor([level], dtype=torch.float64), vp.embed(["a"]))
