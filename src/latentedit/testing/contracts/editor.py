"""The laws of `Editor` as a pytest class: subclass it, give it an editor, and inherit its tests."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from latentedit.core.errors import ConfigError
from latentedit.editors.base import Editor
from latentedit.encoding.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.registry import from_pipeline
from latentedit.numerics.condition import Condition
from latentedit.numerics.rng import seeded, stream
from latentedit.testing.contracts.closeness import relative_error, tolerance
from latentedit.testing.miniature import sd3_pipeline


class EditorContract:
    """Duties of every editor; numbers are those of the laws in `latentedit.editors.base.Editor`.

    A subclass named ``Test...`` gives the fixture `editor`. It runs on a small Stable Diffusion 3 with
    random weights unless it overrides `backbone`.

    Example:
        class TestMine(EditorContract):
            @pytest.fixture
            def editor(self):
                return MyEditor(steps=12)
    """

    strength = 0.8
    """A strength that the editor allows."""

    @pytest.fixture
    def editor(self) -> Editor:
        """The editor under test, given by the subclass."""
        raise NotImplementedError("a subclass of EditorContract gives the fixture `editor`")

    @pytest.fixture(scope="class")
    def backbone(self) -> Backbone:
        """Stable Diffusion 3 of two layers with random weights."""
        return from_pipeline(sd3_pipeline(t5=False))

    @pytest.fixture
    def latent(self, backbone: Backbone) -> JointLatent:
        """Three clean latents of different texts."""
        texts = ("a", "b", "a b")
        side = backbone.capabilities.sizes[1]
        shape = (len(texts), *backbone.latent_shape(side, side))
        z = torch.randn(shape, generator=stream(0, "contract"), dtype=torch.float32)
        return JointLatent(
            backbone=backbone, z=z.to(backbone.device, backbone.dtype), condition=backbone.embed(texts), captions=texts
        )

    @pytest.fixture
    def target(self, backbone: Backbone) -> Condition:
        """One text for all."""
        return backbone.embed(["c"])

    def test_law_1_strength_zero_is_the_identity(self, editor: Editor, latent: JointLatent, target: Condition) -> None:
        """Nothing is computed and nothing changes."""
        with latent.backbone.count() as cost:
            assert torch.equal(editor.edit(latent, target, [0.0])[0].z, latent.z)
        assert cost.evaluations == 0
        assert editor.evaluations(latent, strength=0.0) == 0

    def test_law_1_a_strength_changes_something(self, editor: Editor, latent: JointLatent, target: Condition) -> None:
        """The control of law 1: at another strength something happens, in the shape and dtype of the latents."""
        edited = editor.edit(latent, target, [self.strength])[0].z
        assert edited.shape == latent.z.shape
        assert edited.dtype == latent.z.dtype
        assert bool(torch.isfinite(edited).all())
        assert relative_error(edited, latent.z) > 1e-3

    def test_law_2_same_seed_same_result(self, editor: Editor, latent: JointLatent, target: Condition) -> None:
        """The global random state neither matters nor moves."""
        first = editor.edit(latent, target, [self.strength], seed=3)[0].z
        with seeded(1):
            state = torch.random.get_rng_state()
            again = editor.edit(latent, target, [self.strength], seed=3)[0].z
            assert torch.equal(torch.random.get_rng_state(), state)
        assert torch.equal(first, again)

    def test_law_3_neighbors_do_not_matter(self, editor: Editor, latent: JointLatent, target: Condition) -> None:
        """Each image alone gives, with its own seed, what it gives in the batch."""
        seeds = range(1, len(latent) + 1)
        together = editor.edit(latent, target, [self.strength], seed=seeds)[0].z
        bound = tolerance("batch", latent.z.dtype)
        for index, seed in enumerate(seeds):
            alone = editor.edit(_only(latent, index), target, [self.strength], seed=seed)[0].z
            assert relative_error(alone, together[index : index + 1]) < bound

    def test_law_4_costs_what_it_states(self, editor: Editor, latent: JointLatent, target: Condition) -> None:
        """The backbone's counter agrees with the formula."""
        with latent.backbone.count() as counted:
            editor.edit(latent, target, [self.strength])
        spent = counted.evaluations
        assert spent == len(latent) * editor.evaluations(latent, strength=self.strength) > 0

    def test_law_5_equal_texts(self, editor: Editor, latent: JointLatent) -> None:
        """A target equal to the source changes nothing where the editor says so."""
        if editor.keeps_equal_texts:
            edited = editor.edit(latent, latent.condition, [self.strength])[0].z
            assert relative_error(edited, latent.z) < tolerance("batch", latent.z.dtype)

    def test_law_6_settings_round_trip(self, editor: Editor) -> None:
        """Settings survive being written, and unknown ones are refused by name."""
        assert type(editor).from_dict(editor.to_dict()) == editor
        with pytest.raises(ConfigError, match="no_such_setting"):
            type(editor).from_dict({"no_such_setting": 1})

    def test_runs_where_the_model_has_a_lowest_level(
        self, editor: Editor, latent: JointLatent, target: Condition, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A path ends below it: `Edit.field` and `Edit.two_fields` cut levels to the model's range."""
        known = latent.backbone.capabilities
        lowest = dataclasses.replace(known, s_min=max(known.s_min, _LOWEST))
        monkeypatch.setattr(latent.backbone, "capabilities", lowest)
        assert bool(torch.isfinite(editor.edit(latent, target, [self.strength])[0].z).all())

    @pytest.mark.parametrize("strength", [math.nan, math.inf, -math.inf])
    def test_refuses_strengths_that_are_no_numbers(
        self, editor: Editor, latent: JointLatent, target: Condition, strength: float
    ) -> None:
        """An error names the argument, before any evaluation."""
        with latent.backbone.count() as counted, pytest.raises(ConfigError, match="finite"):
            editor.edit(latent, target, [strength])
        assert counted.evaluations == 0

    def test_reports_progress(self, editor: Editor, latent: JointLatent, target: Condition) -> None:
        """Steps done never exceed the total, and every phase comes to its end; a moment's work need not be reported."""
        seen: dict[str, tuple[int, int]] = {}

        def progress(what: str, done: int, total: int) -> None:
            assert 0 < done <= total
            seen[what] = (done, total)

        editor.edit(latent, target, [self.strength], progress=progress)
        assert seen or editor.evaluations(latent, strength=self.strength) <= _MOMENT
        assert all(done == total for done, total in seen.values())


_MOMENT = 4  # evaluations that need no progress bar
_LOWEST = 0.001  # a level below the last step but the end of any path of less than 1000 steps


def _only(latent: JointLatent, index: int) -> JointLatent:
    rows = slice(index, index + 1)
    z: Tensor = latent.z[rows]
    return JointLatent(backbone=latent.backbone, z=z, condition=latent.condition[rows], captions=latent.captions[rows])
