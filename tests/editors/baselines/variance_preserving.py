"""The mixture of the tests as a network that predicts epsilon: its levels reach neither data nor pure noise."""

from latentedit.core.schedule import scaled_linear_schedule
from latentedit.testing.gaussian_mixture import WordWeights, example_mixture, letters
from latentedit.testing.vp_mixture import VariancePreservingMixture


def vp_mixture(*, latent: tuple[int, ...] | None = (2, 3)) -> VariancePreservingMixture:
    mixture = example_mixture(dimension=6).mixture
    return VariancePreservingMixture(
        mixture=mixture,
        weights=WordWeights(letters(mixture.means), mixture.means.new_zeros(len(mixture.means))),
        schedule=scaled_linear_schedule(),
        prediction="epsilon",
        latent=latent,
    )
