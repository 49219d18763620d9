"""A Gaussian mixture in flow coordinates: velocity, score, posterior, Hessian, Jacobian and flow map in closed form.

Data of component k are N(mu_k, Sigma_k), so latents at level s are N((1 - s) mu_k, C_k) with
C_k = (1 - s)^2 Sigma_k + s^2 I. With d = z - (1 - s) mu_k, responsibilities r_k = p(k | z), u_k = -C_k^-1 d and
M_k = (s I - (1 - s) Sigma_k) C_k^-1:

    velocity of one component     a_k = M_k d - mu_k
    posterior mean of one         m_k = mu_k + (1 - s) Sigma_k C_k^-1 d
    posterior covariance of one   P_k = s^2 Sigma_k C_k^-1

and everything below is an average of these over r. Nothing is divided by s or by 1 - s. All matrices of a component
share the eigenvectors of Sigma_k.
"""

import dataclasses
import math

import torch
from jaxtyping import Float
from torch import Tensor


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GaussianMixture:
    """K Gaussians with full covariances; their weights are arguments of each method.

    Args:
        means: mu, ``[k, d]``.
        covariances: Sigma, ``[k, d, d]``, symmetric and positive definite.
    """

    means: Float[Tensor, "k d"]
    covariances: Float[Tensor, "k d d"]
    spectrum: Float[Tensor, "k d"] = dataclasses.field(init=False, repr=False)
    vectors: Float[Tensor, "k d d"] = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        spectrum, vectors = torch.linalg.eigh(self.covariances)
        object.__setattr__(self, "spectrum", spectrum)
        object.__setattr__(self, "vectors", vectors)

    def at(
        self, z: Float[Tensor, "b d"], s: Float[Tensor, " b"], log_weights: Float[Tensor, "b k"]
    ) -> "MixturePosterior":
        """All closed forms at latents z and levels s in [0, 1], for mixtures with these normalized log-weights."""
        level = s[:, None, None]
        spectrum = (1 - level) ** 2 * self.spectrum + level**2
        rotated = torch.einsum("kij,bki->bkj", self.vectors, z[:, None] - (1 - level) * self.means)
        square = (rotated**2 / spectrum).sum(-1)
        normalizer = spectrum.log().sum(-1) + self.means.shape[1] * math.log(2 * math.pi)
        log_joint = log_weights - (square + normalizer) / 2
        weights, whitened = torch.softmax(log_joint, dim=1), rotated / spectrum
        return MixturePosterior(self, z, s, log_joint, weights, spectrum, whitened)

    def flow_map(self, z: Float[Tensor, "b d"], start: float, end: float, component: int) -> Float[Tensor, "b d"]:
        """Where the flow of one component alone takes latents from one level to another.

        ``z_b = (1 - b) mu + C_b^1/2 C_a^-1/2 (z_a - (1 - a) mu)``
        """
        mean, spectrum, vectors = self.means[component], self.spectrum[component], self.vectors[component]
        before = (1 - start) ** 2 * spectrum + start**2
        after = (1 - end) ** 2 * spectrum + end**2
        rotated = (z - (1 - start) * mean) @ vectors
        return (1 - end) * mean + (rotated * (after / before).sqrt()) @ vectors.mT

    def counterfactual(self, x: Float[Tensor, "b d"], source: int, target: int) -> Float[Tensor, "b d"]:
        """The optimal affine map from one component to another, which moves a clean latent as little as possible.

        ``mu_2 + T (x - mu_1)``, ``T = S_1^-1/2 (S_1^1/2 S_2 S_1^1/2)^1/2 S_1^-1/2``; ``x + mu_2 - mu_1`` for equal
        covariances. Editing by inversion gives ``mu_2 + S_2^1/2 S_1^-1/2 (x - mu_1)`` instead (two calls of
        `flow_map`); the two agree where the covariances commute.
        """
        shift = x - self.means[source]
        if torch.equal(self.covariances[source], self.covariances[target]):
            return self.means[target] + shift
        root = self._power(source, 0.5)
        middle, vectors = torch.linalg.eigh(root @ self.covariances[target] @ root)
        inner = vectors @ torch.diag(middle.clamp_min(0).sqrt()) @ vectors.mT
        inverse = self._power(source, -0.5)
        return self.means[target] + shift @ (inverse @ inner @ inverse).mT

    def draw(self, log_weights: Float[Tensor, "b k"], *, generator: torch.Generator) -> Float[Tensor, "b d"]:
        """One clean latent for each row of normalized log-weights."""
        picks = torch.multinomial(log_weights.exp(), 1, generator=generator)[:, 0]
        noise = torch.randn(len(picks), self.means.shape[1], generator=generator, dtype=torch.float32).to(self.means)
        scaled = self.spectrum[picks].sqrt() * noise
        return self.means[picks] + torch.einsum("bij,bj->bi", self.vectors[picks], scaled)

    def _power(self, component: int, exponent: float) -> Tensor:
        vectors = self.vectors[component]
        return (vectors * self.spectrum[component] ** exponent) @ vectors.mT


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class MixturePosterior:
    """The posterior of x and e, given z at level s."""

    mixture: GaussianMixture
    z: Float[Tensor, "b d"]
    s: Float[Tensor, " b"]
    log_joint: Float[Tensor, "b k"]  # ``log p(k, z)``
    weights: Float[Tensor, "b k"]  # responsibilities ``p(k | z)``
    spectrum: Float[Tensor, "b k d"]  # eigenvalues of every C_k
    whitened: Float[Tensor, "b k d"]  # ``C_k^-1 d`` in the eigenvectors of Sigma_k

    @property
    def log_density(self) -> Float[Tensor, " b"]:
        """``log p_s(z)``."""
        return torch.logsumexp(self.log_joint, dim=1)

    @property
    def velocity(self) -> Float[Tensor, "b d"]:
        """``v = sum r a``; ``v(z, 0) = -z`` and ``v(z, 1) = z - E[x]``."""
        return self._mean(self._component_velocities)

    @property
    def clean(self) -> Float[Tensor, "b d"]:
        """The posterior mean ``x_hat = sum r m``."""
        return self._mean(self._component_cleans)

    @property
    def score(self) -> Float[Tensor, "b d"]:
        """``grad log p_s(z) = sum r u = -(z + (1 - s) v) / s``."""
        return self._mean(self._component_scores)

    @property
    def covariance(self) -> Float[Tensor, "b d d"]:
        """The posterior covariance ``sum r (P + m m^T) - x_hat x_hat^T = s^2 / (1 - s) (I - s J)``."""
        level = self.s[:, None, None]
        inside = self._mean_matrix(level**2 * self.mixture.spectrum / self.spectrum)
        return inside + self._spread(self._component_cleans, self._component_cleans)

    @property
    def hessian(self) -> Float[Tensor, "b d d"]:
        """The Hessian of ``log p_s(z)``: ``-sum r C^-1 + sum r u u^T - u u^T of the means``; indefinite in general."""
        return self._spread(self._component_scores, self._component_scores) - self._mean_matrix(1 / self.spectrum)

    @property
    def jacobian(self) -> Float[Tensor, "b d d"]:
        """The Jacobian of the velocity, ``J = dv/dz = sum r M + sum r a (u - u_mean)^T``; symmetric."""
        level = self.s[:, None, None]
        slopes = (level - (1 - level) * self.mixture.spectrum) / self.spectrum
        return self._mean_matrix(slopes) + self._spread(self._component_velocities, self._component_scores)

    @property
    def _component_velocities(self) -> Tensor:
        level = self.s[:, None, None]
        return self._rotate((level - (1 - level) * self.mixture.spectrum) * self.whitened) - self.mixture.means

    @property
    def _component_cleans(self) -> Tensor:
        level = self.s[:, None, None]
        return self.mixture.means + self._rotate((1 - level) * self.mixture.spectrum * self.whitened)

    @property
    def _component_scores(self) -> Tensor:
        return -self._rotate(self.whitened)

    def _rotate(self, coefficients: Tensor) -> Tensor:
        return torch.einsum("kij,bkj->bki", self.mixture.vectors, coefficients)

    def _mean(self, values: Tensor) -> Tensor:
        return torch.einsum("bk,bki->bi", self.weights, values)

    def _mean_matrix(self, eigenvalues: Tensor) -> Tensor:
        vectors = self.mixture.vectors
        return torch.einsum("bk,kil,bkl,kjl->bij", self.weights, vectors, eigenvalues, vectors)

    def _spread(self, left: Tensor, right: Tensor) -> Tensor:
        """``sum r (a - a_mean) (b - b_mean)^T``, the covariance over components."""
        a = left - self._mean(left)[:, None]
        b = right - self._mean(right)[:, None]
        return torch.einsum("bk,bki,bkj->bij", self.weights, a, b)
