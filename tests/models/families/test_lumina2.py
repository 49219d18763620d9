"""Lumina-Image 2.0 against its stock pipeline."""

from typing import Any

from latentedit.core.solvers.euler import EulerSolver
from latentedit.core.solvers.integrate import sample
from latentedit.models.guidance import GuidedField
from latentedit.testing.miniatures.lumina2 import lumina2
from latentedit.testing.tolerances import relative_error
from tests.models.families.family import CAPTION, PARITY, STEPS, FamilyContract


class TestLumina2(FamilyContract):
    guidance = (4.0, "renormalised")

    def build(self) -> Any:
        return lumina2()

    def test_without_normalisation_guidance_is_affine(self, pipeline: Any, backbone: Any) -> None:
        """As the stock pipeline does it when asked."""
        z, grid = self.start(backbone, (64, 64)), backbone.grid(STEPS, height_px=64, width_px=64)
        stock = self.stock_picture(pipeline, 3.0, (64, 64), z, cfg_normalization=False)
        affine = GuidedField(backbone=backbone, condition=backbone.embed([CAPTION]), guidance=3.0)
        assert relative_error(sample(affine, z, grid, EulerSolver()).final, stock) <= PARITY

    def test_the_space_before_a_caption_takes_no_room(self, backbone: Any) -> None:
        """It goes with the first word, if the tokenizer knows that one behind a space."""
        for word in ("a", "x"):
            texts = (" ".join([word] * count) for count in range(1, 256))
            longest = next(text for text in texts if backbone.caption_notes([f"{text} {word}"]))
            prompt = f"{backbone.stock.system_prompt} <Prompt Start> {longest}"
            assert 255 <= len(backbone._words(prompt).input_ids) <= 256
            assert len(backbone._words(f"{prompt} {word}").input_ids) > 256

    def test_the_system_prompt_takes_room(self, backbone: Any) -> None:
        """And the empty text has none: the mark of the beginning alone."""
        empty, used = backbone.embed(["", "xy"]).mask.sum(1).tolist()
        assert empty == 1
        room = 256 - used + 2
        assert backbone.caption_notes(["x" * room]) == []
        assert f"{room} tokens" in backbone.caption_notes(["x" * (room + 1)])[0]
