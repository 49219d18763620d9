"""The laws of `Backbone` as a pytest class: subclass it, give it a backbone, and inherit its tests."""

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from latentedit.core.errors import ConfigError, CoordinateError, ShapeError, UnsupportedDerivativeError
from latentedit.models.base import Backbone
from latentedit.models.derivatives import VelocityJacobian
from latentedit.models.guidance import GuidedField
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import clean_estimate
from latentedit.numerics.rng import draw, stream
from latentedit.testing.contracts.closeness import relative_error, tolerance

_REFUSED = (ShapeError, TypeError)
"""Run-time checks of shape annotations, where a test run turns them on, raise a TypeError before the backbone can."""


class BackboneContract:
    """Duties of every backbone; numbers are those of the laws in `latentedit.models.base.Backbone`.

    A subclass named ``Test...`` gives the fixture `backbone`. Where the defaults do not suit it overrides `texts` (two
    different texts that the model knows, of different lengths where it masks padding; ``()`` for a model that reads
    none), `null_is_the_empty_text`, `latent` or `condition`.

    Example:
        class TestMine(BackboneContract):
            @pytest.fixture(scope="class")
            def backbone(self):
                return MyBackbone(...)
    """

    texts: ClassVar[Sequence[str]] = ("a", "b")
    null_is_the_empty_text: ClassVar[bool] = True

    @pytest.fixture
    def backbone(self) -> Backbone:
        """The backbone under test, given by the subclass."""
        raise NotImplementedError("a subclass of BackboneContract gives the fixture `backbone`")

    @pytest.fixture
    def condition(self, backbone: Backbone) -> Condition:
        """Two texts, or what a model that reads none has in their place."""
        return backbone.embed(list(self.texts or ("", "")))

    @pytest.fixture
    def latent(self, backbone: Backbone) -> Float[Tensor, "b *latent"]:
        """Two latents of the smallest size."""
        shape = backbone.latent_shape(backbone.capabilities.sizes[0], backbone.capabilities.sizes[0])
        noise = [draw(shape, seed=0, purpose="contract", index=index) for index in range(2)]
        return torch.stack(noise).to(backbone.device, backbone.dtype)

    @pytest.fixture
    def levels(self, backbone: Backbone) -> Float[Tensor, " b"]:
        """Two different levels inside the range."""
        low, high = backbone.capabilities.s_min, backbone.capabilities.s_max
        return torch.tensor([0.7, 0.4], device=backbone.device, dtype=backbone.dtype) * (high - low) + low

    def test_law_1_batch_invariance(
        self, backbone: Backbone, latent: Tensor, levels: Tensor, condition: Condition
    ) -> None:
        """Each element of a batch gets the velocity that it gets alone, finite and in its own dtype."""
        together = backbone.velocity(latent, levels, condition)
        assert together.shape == latent.shape
        assert together.dtype == latent.dtype
        assert bool(together.isfinite().all())
        for index in range(len(latent)):
            row = slice(index, index + 1)
            alone = backbone.velocity(latent[row], levels[row], condition[row])
            assert relative_error(together[row], alone) <= tolerance("batch", latent.dtype)
        assert relative_error(together[:1], together[1:]) > 1e-3, "two different calls have the same answer"

    def test_law_1_single_text_serves_every_latent(
        self, backbone: Backbone, latent: Tensor, levels: Tensor, condition: Condition
    ) -> None:
        """One text for two latents is the same as the text twice."""
        single = backbone.velocity(latent, levels, condition[:1])
        repeated = backbone.velocity(latent, levels, condition[:1].repeat(2))
        assert relative_error(single, repeated) <= tolerance("batch", latent.dtype)

    def test_law_2_pure_function(
        self, backbone: Backbone, latent: Tensor, levels: Tensor, condition: Condition
    ) -> None:
        """The same call gives the same bits after another one, and leaves its arguments unchanged."""
        before = latent.clone(), levels.clone(), condition.tokens.clone(), condition.pooled.clone()
        first = backbone.velocity(latent, levels, condition)
        backbone.velocity(latent.flip(0), levels.flip(0), condition)
        assert torch.equal(first, backbone.velocity(latent, levels, condition))
        after = latent, levels, condition.tokens, condition.pooled
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True)), "arguments were changed"

    def test_law_2_level_and_text_matter(
        self, backbone: Backbone, latent: Tensor, levels: Tensor, condition: Condition
    ) -> None:
        """Another level or another text gives another velocity; a model says whether it reads text."""
        v = backbone.velocity(latent[:1], levels[:1], condition[:1])
        if backbone.capabilities.s_min < backbone.capabilities.s_max:
            assert not torch.equal(v, backbone.velocity(latent[:1], levels[1:], condition[:1]))
        assert backbone.reads_text == bool(self.texts), "`texts` are () exactly where the model's `reads_text` is False"
        if self.texts:
            other = backbone.velocity(latent[:1], levels[:1], condition[1:])
            assert not torch.equal(v, other), "a model that reads no text has `reads_text = False` and `texts = ()`"

    def test_law_3_evaluations_are_counted(
        self, backbone: Backbone, latent: Tensor, levels: Tensor, condition: Condition
    ) -> None:
        """A count grows by the number of elements."""
        with backbone.count() as cost:
            backbone.velocity(latent, levels, condition)
            backbone.velocity(latent[:1], levels[:1], condition[:1])
        assert cost.evaluations == 3

    def test_law_4_wrong_arguments_are_refused(
        self, backbone: Backbone, latent: Tensor, levels: Tensor, condition: Condition
    ) -> None:
        """Levels and texts that do not fit are refused by name, and not counted."""
        with backbone.count() as counted:
            with pytest.raises(_REFUSED):
                backbone.velocity(latent, levels[:1], condition)
            with pytest.raises(_REFUSED):
                backbone.velocity(latent[:1].repeat_interleave(3, 0), levels[:1].repeat(3), condition)
            for level in (backbone.capabilities.s_max + 0.01, backbone.capabilities.s_min - 0.01, float("nan")):
                with pytest.raises(CoordinateError):
                    backbone.velocity(latent, torch.full_like(levels, level), condition)
        assert counted.evaluations == 0, "a refused call was counted"

    def test_law_4_wrong_latent_shape_is_refused(
        self, backbone: Backbone, latent: Tensor, levels: Tensor, condition: Condition
    ) -> None:
        """Latents of a shape that the model cannot take are refused by name."""
        with pytest.raises(_REFUSED):
            backbone.velocity(latent[:, :-1], levels, condition)

    def test_law_5_embed_is_batch_consistent(self, backbone: Backbone) -> None:
        """A text is embedded the same alone and among others."""
        texts = [*self.texts, ""]
        together = backbone.embed(texts)
        assert len(together) == len(texts)
        for index, text in enumerate(texts):
            alone = backbone.embed([text])
            assert relative_error(together.tokens[index], alone.tokens[0]) <= tolerance("batch", alone.tokens.dtype)
            if alone.pooled.shape[1]:
                assert relative_error(together.pooled[index], alone.pooled[0]) <= tolerance("batch", alone.pooled.dtype)

    def test_law_6_global_random_state_is_untouched(
        self, backbone: Backbone, latent: Tensor, levels: Tensor, condition: Condition
    ) -> None:
        """Nothing draws on the global random state."""
        before = torch.random.get_rng_state()
        backbone.embed(list(self.texts or ("",)))
        backbone.velocity(latent, levels, condition)
        backbone.draw_start(latent.shape, generator=stream(0, "contract"))
        assert torch.equal(before, torch.random.get_rng_state())

    def test_law_7_null_is_the_empty_text_of_the_same_kind(self, backbone: Backbone, condition: Condition) -> None:
        """It has the condition's length, references and embedded guidance; few models have no text instead."""
        null, empty = backbone.null(condition), backbone.embed([""])
        assert null.tokens.shape[1:] == condition.tokens.shape[1:]
        if self.null_is_the_empty_text:
            assert torch.equal(null.tokens, empty.tokens)
            assert torch.equal(null.pooled, empty.pooled)
        image = (condition.tokens.new_ones(len(condition), 1, 2, 2),)
        null = backbone.null(dataclasses.replace(condition, reference=image, guidance=3.5))
        assert null.reference is image
        assert null.guidance == 3.5

    def test_grid_stays_where_the_velocity_is_defined(self, backbone: Backbone) -> None:
        """The model's own grid starts at s_max or below, and only its last level, never evaluated, is below s_min.

        A number of steps that the model cannot take is refused as a setting.
        """
        taken = 0
        for steps in (1, 2, 7, 28):
            with contextlib.suppress(ConfigError):
                grid = backbone.grid(steps)
                assert grid.steps == steps
                assert grid.levels[0] <= backbone.capabilities.s_max + 1e-9
                assert grid.levels[-2] >= backbone.capabilities.s_min - 1e-9
                taken += 1
        assert taken, "the model has no grid"

    def test_start_has_the_declared_deviation(self, backbone: Backbone, latent: Tensor) -> None:
        """Starting latents have the declared deviation and come from the generator alone."""
        count = -(-4096 // latent[0].numel())
        start = backbone.draw_start((count, *latent.shape[1:]), generator=stream(0, "contract")).to(torch.float64)
        error = 1 / (2 * start.numel()) ** 0.5
        assert float(start.std()) / backbone.capabilities.start_std == pytest.approx(1, abs=4 * error)
        again = backbone.draw_start((count, *latent.shape[1:]), generator=stream(0, "contract"))
        assert torch.equal(start, again.to(torch.float64))

    def test_jvp_agrees_with_differences(
        self, backbone: Backbone, latent: Tensor, levels: Tensor, condition: Condition
    ) -> None:
        """Forward mode, where declared, agrees with central differences and is counted as two."""
        tangent = latent.flip(0)
        differences = VelocityJacobian(backbone, latent, levels, condition, mode="finite_difference").matvec(tangent)
        if "jvp" not in backbone.capabilities.derivatives:
            with pytest.raises(UnsupportedDerivativeError):
                VelocityJacobian(backbone, latent, levels, condition, mode="forward")
            return
        with backbone.count() as counted:
            product = VelocityJacobian(backbone, latent, levels, condition, mode="forward").matvec(tangent)
        assert counted.evaluations == 2 * len(latent)
        assert relative_error(differences, product) <= tolerance("difference", latent.dtype)

    def test_vjp_is_the_transpose(
        self, backbone: Backbone, latent: Tensor, levels: Tensor, condition: Condition
    ) -> None:
        """``<w, J u> = <J^T w, u>`` where reverse mode is declared, with J u from central differences."""
        u, w = latent.flip(0), latent.sin()
        jacobian = VelocityJacobian(backbone, latent, levels, condition, mode="finite_difference")
        if "vjp" not in backbone.capabilities.derivatives:
            with pytest.raises(UnsupportedDerivativeError):
                jacobian.rmatvec(w)
            return
        product, transposed = jacobian.matvec(u), jacobian.rmatvec(w)
        close = tolerance("difference", latent.dtype) * float(w.norm() * product.norm())
        assert float((w * product).sum()) == pytest.approx(float((transposed * u).sum()), abs=close)

    def test_guidance_is_affine_in_its_weight(
        self, backbone: Backbone, latent: Tensor, levels: Tensor, condition: Condition
    ) -> None:
        """Weight 1 is the conditional velocity bit for bit, 0 the unconditional, the rest on their line.

        A weight that is an input of the network takes one evaluation; a distilled network has none but 1.
        """

        def field(guidance: float) -> Tensor:
            return GuidedField(backbone=backbone, condition=condition, guidance=guidance)(latent, levels)

        conditional = backbone.velocity(latent, levels, condition)
        null = backbone.velocity(latent, levels, backbone.null(condition))
        kind = backbone.capabilities.guidance_kind
        if kind == "none":
            with pytest.raises(ConfigError, match="distilled to need no guidance"):
                field(2.0)
        if kind in ("none", "embedded"):
            with backbone.count() as counted:
                guided = field(1.0)
            assert counted.evaluations == len(latent)
            assert torch.equal(guided, conditional) == (kind == "none")
            return
        assert torch.equal(field(1.0), conditional)
        close = tolerance("batch", latent.dtype)
        assert relative_error(field(0.0), null) <= close
        assert relative_error(field(4.0), null + 4 * (conditional - null)) <= 10 * close
        with backbone.count() as counted:
            field(4.0)
        assert counted.evaluations == 2 * len(latent)

    def test_features_at_every_site(
        self, backbone: Backbone, latent: Tensor, levels: Tensor, condition: Condition
    ) -> None:
        """One feature an element, counted, independent of its neighbors; velocities are the same afterwards."""
        v = backbone.velocity(latent, levels, condition)
        for site in backbone.sites:
            with backbone.count() as counted:
                together = backbone.features(latent, levels, condition, site)
            assert counted.evaluations == len(together) == len(latent)
            assert together.dtype == latent.dtype
            alone = backbone.features(latent[:1], levels[:1], condition[:1], site)
            assert relative_error(together[:1], alone) <= tolerance("batch", latent.dtype)
        assert torch.equal(backbone.features(latent, levels, condition, "velocity"), v)
        clean = clean_estimate(latent, levels, v)
        assert relative_error(backbone.features(latent, levels, condition, "clean"), clean) <= 1e-6
        assert backbone.default_site in backbone.sites
        with pytest.raises(ConfigError, match="has no site"):
            backbone.features(latent, levels, condition, "no such site")

    def test_a_shifted_feature_changes_the_velocity(
        self, backbone: Backbone, latent: Tensor, levels: Tensor, condition: Condition
    ) -> None:
        """A shift of zero changes nothing, another one something, and sites outside the network are refused."""
        v = backbone.velocity(latent, levels, condition)
        with pytest.raises(ConfigError, match="has no site"):
            backbone.velocity_with(latent, levels, condition, "velocity", torch.zeros_like(v))
        if backbone.default_site == "clean":
            return
        feature = backbone.features(latent, levels, condition, backbone.default_site)
        still = backbone.velocity_with(latent, levels, condition, backbone.default_site, torch.zeros_like(feature))
        assert relative_error(still, v) <= tolerance("batch", latent.dtype)
        shift = feature.flip(-1)  # and not the feature itself, whose scale a normalization takes out again
        changed = backbone.velocity_with(latent, levels, condition, backbone.default_site, shift)
        assert relative_error(changed, v) > 1e-4
        assert torch.equal(backbone.velocity(latent, levels, condition), v)

    def test_law_9_attention_that_is_given_back_changes_nothing(
        self, backbone: Backbone, latent: Tensor, levels: Tensor, condition: Condition
    ) -> None:
        """Not one bit; the values of another image do, each row its own, and nothing stays in the network."""
        v, layers = backbone.velocity(latent, levels, condition), backbone.attention_layers
        with pytest.raises(ConfigError, match="has no attention"):
            backbone.velocity_keeping(latent, levels, condition, ["no such layer.value"])
        if not layers:
            return
        names = [f"{layer}.{part}" for layer in layers for part in ("query", "key", "value")]
        with backbone.count() as counted:
            same, kept = backbone.velocity_keeping(latent, levels, condition, names)
            back = backbone.velocity_given(latent, levels, condition, kept)
        assert counted.evaluations == 2 * len(latent)
        assert list(kept) == names
        assert torch.equal(same, v)
        assert torch.equal(back, v)
        others = {f"{layer}.value": kept[f"{layer}.value"].flip(0) for layer in layers}
        changed = backbone.velocity_given(latent, levels, condition, others)
        assert relative_error(changed, v) > 1e-3
        mine = {name: feature[:1] for name, feature in others.items()}
        alone = backbone.velocity_given(latent[:1], levels[:1], condition[:1], mine)
        assert relative_error(changed[:1], alone) <= tolerance("batch", latent.dtype)
        with pytest.raises(ShapeError, match="is not"):
            backbone.velocity_given(latent, levels, condition, {names[0]: kept[names[0]][:, 1:]})
        assert torch.equal(backbone.velocity(latent, levels, condition), v)
