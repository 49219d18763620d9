"""The analytic backbone: a Gaussian mixture whose words re-weight its components, with every answer in closed form."""

import hashlib
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ShapeError, nearest
from latentedit.models.callable import CallableBackbone
from latentedit.numerics.condition import Condition
from tests.testing.mixture import GaussianMixture, MixturePosterior

TEXT_TOKENS = 8  # most words of a text
EMPHASIS = 3.0  # added by a word to the log-weight of its component


class WordWeights:
    """A vocabulary that turns texts into log-weights of components: the sum of the words' vectors, ``[k]`` each.

    Tokens are ``[b, 8, k]``, one vector a word, zero for unknown and missing words; the pooled part has width 0.
    The log-weights are ``log_softmax(prior + sum of tokens)``, so conditions form a vector space and the empty text
    gives the prior.
    """

    def __init__(self, words: Mapping[str, Float[Tensor, " k"]], prior: Float[Tensor, " k"]) -> None:
        self.words = {word: vector.to(prior) for word, vector in words.items()}
        self.prior = prior

    def embed(self, texts: Sequence[str]) -> Condition:
        """Texts as conditions; unknown words and those beyond the eighth are ignored."""
        tokens = self.prior.new_zeros(len(texts), TEXT_TOKENS, len(self.prior))
        for row, text in enumerate(texts):
            for index, word in enumerate(text.split()[:TEXT_TOKENS]):
                if word in self.words:
                    tokens[row, index] = self.words[word]
        return Condition(tokens=tokens, pooled=self.prior.new_zeros(len(texts), 0))

    def log_weights(self, condition: Condition) -> Float[Tensor, "b k"]:
        """Normalized log-weights of the components."""
        return torch.log_softmax(self.prior + condition.tokens.to(self.prior).sum(dim=1), dim=1)


class GaussianMixtureBackbone(CallableBackbone):
    """A rectified-flow model of a Gaussian mixture, exact at every level in [0, 1], with a uniform grid and no codec.

    Args:
        means: ``[k, d]``; their dtype (float64 in tests) is the backbone's.
        covariances: ``[k, d, d]``, symmetric positive definite.
        words: each word's vector of log-weights; None names the components "a", "b", "c", ...: a word adds 3 to the
            log-weight of its own.
        prior: log-weights of the empty text; None is uniform.
        latent: shape of one latent, of d numbers in all; None is ``(d,)``.

    Example:
        >>> backbone = example_mixture(dimension=2, components=2)
        >>> z, s = torch.ones(1, 2, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        >>> bool(torch.allclose(backbone.velocity(z, s, backbone.embed(["a"])), -z))
        True
    """

    def __init__(
        self,
        *,
        means: Float[Tensor, "k d"],
        covariances: Float[Tensor, "k d d"],
        words: Mapping[str, Float[Tensor, " k"]] | None = None,
        prior: Float[Tensor, " k"] | None = None,
        latent: tuple[int, ...] | None = None,
    ) -> None:
        self.mixture = GaussianMixture(means=means, covariances=covariances)
        self.weights = WordWeights(words or letters(means), means.new_zeros(len(means)) if prior is None else prior)
        self.latent = (means.shape[1],) if latent is None else latent
        parts = (means, covariances, self.weights.prior, *self.weights.words.values())
        digest = hashlib.sha256(b"".join(part.detach().cpu().numpy().tobytes() for part in parts)).hexdigest()
        super().__init__(
            self._velocity,
            embed=self.weights.embed,
            latent_shape=lambda *_: self.latent,
            name="gaussian-mixture",
            fingerprint=digest[:16],
            device=means.device,
            dtype=means.dtype,
        )
        if torch.Size(self.latent).numel() != means.shape[1]:
            raise ShapeError(f"the latent shape must hold {means.shape[1]} numbers; got {list(self.latent)}")

    @property
    def compute_dtype(self) -> torch.dtype:
        return self.dtype

    def caption_notes(self, texts: Sequence[str]) -> list[str]:
        """Unknown words, and words beyond the eighth."""
        vocabulary = self.weights.words
        unknown = sorted({word for text in texts for word in text.split() if word not in vocabulary})
        dropped = sorted({word for text in texts for word in text.split()[TEXT_TOKENS:]})
        notes = [f"unknown word {word!r}: {nearest(word, vocabulary)}" for word in unknown]
        return notes + [f"word {word!r} is beyond the {TEXT_TOKENS} that a text can have" for word in dropped]

    def only(self, component: int) -> Condition:
        """The condition under which one component has all the weight."""
        condition = self.weights.embed([""])
        condition.tokens[0, 0, component] = 1e6
        return condition

    def at(self, z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"], condition: Condition) -> MixturePosterior:
        """The truth at canonical latents: velocity, score, posterior mean and covariance, Hessian, Jacobian, density.

        Vectors come back as ``[b, d]``, matrices as ``[b, d, d]``, in the backbone's dtype; this counts no evaluation.
        """
        log_weights = self.weights.log_weights(condition.expand(len(z)))
        return self.mixture.at(z.reshape(len(z), -1).to(self.dtype), s.to(self.dtype), log_weights)

    def flow_map(
        self, z: Float[Tensor, "b *latent"], start: float, end: float, component: int
    ) -> Float[Tensor, "b *latent"]:
        """`GaussianMixture.flow_map` in the shape of the latents."""
        return self.mixture.flow_map(z.reshape(len(z), -1), start, end, component).reshape(z.shape)

    def counterfactual(self, x: Float[Tensor, "b *latent"], source: int, target: int) -> Float[Tensor, "b *latent"]:
        """`GaussianMixture.counterfactual` in the shape of the latents."""
        return self.mixture.counterfactual(x.reshape(len(x), -1), source, target).reshape(x.shape)

    def _velocity(
        self, z: Float[Tensor, "b *latent"], s: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b *latent"]:
        if z.shape[1:] != self.latent:
            raise ShapeError(f"latents must have the shape {list(self.latent)}; got {list(z.shape[1:])}")
        v = self._flat_velocity(z.reshape(len(z), -1).to(self.dtype), s.to(self.dtype), condition)
        return v.reshape(z.shape).to(z.dtype)

    def _flat_velocity(
        self, z: Float[Tensor, "b d"], s: Float[Tensor, " b"], condition: Condition
    ) -> Float[Tensor, "b d"]:
        """The velocity at latents without further axes, in the dtype of the mixture."""
        return self.at(z, s, condition).velocity

    def draw_clean(self, condition: Condition, *, generator: torch.Generator) -> Float[Tensor, "b *latent"]:
        """One clean latent a text, drawn from the mixture."""
        drawn = self.mixture.draw(self.weights.log_weights(condition), generator=generator)
        return drawn.reshape(len(condition), *self.latent)


def letters(means: Float[Tensor, "k d"]) -> dict[str, Float[Tensor, " k"]]:
    """The words "a", "b", "c", ... for up to 26 components, each adding `EMPHASIS` to the log-weight of its own."""
    eye = torch.eye(len(means), dtype=means.dtype, device=means.device)
    return {chr(ord("a") + index): EMPHASIS * row for index, row in enumerate(eye)}


def example_mixture(
    *,
    dimension: int = 5,
    components: int = 3,
    shared_covariance: bool = False,
    narrowest: float = 0.05,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    latent: tuple[int, ...] | None = None,
) -> GaussianMixtureBackbone:
    """A random mixture of moderate overlap: means of norm about sqrt(d), variances from ``narrowest`` to 1 above it.

    Solvers need some ``1 / sqrt(narrowest)`` more steps near the data.
    """
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(components, dimension, generator=generator, dtype=torch.float64)
    basis = torch.linalg.qr(torch.randn(components, dimension, dimension, generator=generator, dtype=torch.float64))[0]
    spectrum = narrowest + torch.rand(components, dimension, generator=generator, dtype=torch.float64)
    covariances = (basis * spectrum[:, None]) @ basis.mT
    covariances = (covariances + covariances.mT) / 2
    if shared_covariance:
        covariances = covariances[:1].repeat(components, 1, 1)
    return GaussianMixtureBackbone(means=means.to(dtype), covariances=covariances.to(dtype), latent=latent)
