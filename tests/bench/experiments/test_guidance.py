"""The distance to what is real, of renders and of what is added to them."""

import numpy as np
import pytest
import torch

from latentedit.core.errors import ConfigError
from latentedit.editors.walks.step_length import CLOSE
from latentedit_bench.experiments.guidance import distance_to_render, guidance
from latentedit_bench.experiments.signed_edits import signed_edits
from latentedit_bench.experiments.study import Study
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.domain import PORTRAITS
from latentedit_portraits.render import render_array
from tests.api.discoveries import widen
from tests.editors.colours import ColourBackbone
from tests.editors.edits import grey


def test_a_render_is_on_the_manifold_and_what_is_added_to_it_is_not() -> None:
    """Stripes that the reader does not take for another portrait: their own root mean square, and nothing else."""
    scenes = draw_split("test", 2, 20)
    renders = torch.from_numpy(np.stack([render_array(one) for one in scenes])).permute(0, 3, 1, 2) / 127.5 - 1
    assert distance_to_render(PORTRAITS, renders).tolist() == pytest.approx([0, 0], abs=1e-6)
    stripes = 0.05 * torch.tensor([1.0, -1.0]).repeat(64).expand(2, 3, 128, 128)
    moved = 0.9 * renders + stripes
    assert PORTRAITS.read(moved) == scenes
    expected = (stripes - 0.1 * renders).square().flatten(1).mean(1).sqrt()
    assert distance_to_render(PORTRAITS, moved).tolist() == pytest.approx(expected.tolist(), rel=1e-5)


def test_all_ways_have_one_effect_and_the_unedited_image_is_taken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The domain is told to see nothing but a flat grey: then the distance is that of the picture from it."""

    class Grey:
        def read(self, pixels: torch.Tensor) -> list[int]:
            return [0] * len(pixels)

        def render(self, scene: int) -> np.ndarray:
            return np.full((8, 8, 3), 128, np.uint8)

    widen(monkeypatch)
    monkeypatch.setattr("latentedit_bench.experiments.guidance.domain", lambda name: Grey())
    monkeypatch.setattr("latentedit_bench.experiments.signed_edits.probability_reader", lambda _: None)
    model = ColourBackbone()
    study = Study.of(model, [grey()], levels=(0.5,), rank=2, site="clean", steps=10)
    with pytest.raises(ConfigError, match="nobody reads"):
        list(guidance.look(study, 0.5, 0))
    model.defaults = {"captioner": "portraits"}
    rows = {row["kind"]: row for row in guidance.look(study, 0.5, 0, effect=0.2, repeats=2)}
    assert list(rows) == ["addition", "guidance", "random"]
    assert [row["effect"] for row in rows.values()] == pytest.approx([0.2] * 3, rel=CLOSE)
    assert rows["addition"]["off"] != rows["random"]["off"]
    basis = study.walkable(study.basis(0, 0.5))
    (edit,) = signed_edits(basis, basis.v[:1], effect=0.2)
    plain = model.decode(study.latents[0].z)
    sizes = [
        (one.clamp(-1, 1) - (128 / 127.5 - 1)).square().flatten(1).mean(1).sqrt()
        for one in (plain, plain + edit.change)
    ]
    assert rows["addition"]["off"] == pytest.approx(float(sizes[1].mean() - sizes[0].mean()), abs=1e-6)
