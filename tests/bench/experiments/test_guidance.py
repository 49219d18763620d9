from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from latentedit.core.errors import ConfigError
from latentedit.editors.walks.step_length import CLOSE, EFFECT
from latentedit_bench.experiments.guidance import KINDS, Guidance, distance_to_render
from latentedit_bench.experiments.signed_edits import signed_edits
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.domain import PORTRAITS
from latentedit_portraits.render import render_array
from tests.bench.experiments.gaussians import drawn, legend
from tests.bench.experiments.portrait_network import portrait_study

LEVELS = (0.9, 0.5)


@pytest.mark.slow
def test_a_render_is_on_the_manifold_and_what_is_added_to_it_is_not() -> None:
    """Stripes that the reader does not take for another portrait: their own root mean square, and nothing else."""
    scenes = draw_split("test", 2, 20)
    renders = torch.from_numpy(np.stack([render_array(one) for one in scenes])).permute(0, 3, 1, 2) / 127.5 - 1
    assert PORTRAITS.read(renders) == scenes
    assert distance_to_render(PORTRAITS, renders).tolist() == pytest.approx([0, 0], abs=1e-6)
    stripes = 0.05 * torch.tensor([1.0, -1.0]).repeat(64).expand(2, 3, 128, 128)
    moved = 0.9 * renders + stripes
    assert PORTRAITS.read(moved) == scenes
    expected = (stripes - 0.1 * renders).square().flatten(1).mean(1).sqrt()
    assert distance_to_render(PORTRAITS, moved).tolist() == pytest.approx(expected.tolist(), rel=1e-5)


@pytest.mark.slow
def test_all_ways_have_one_effect_and_the_codec_is_taken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The domain is told to see nothing but a flat grey: then the distance is that of the change itself."""

    class Grey:
        def read(self, pixels: torch.Tensor) -> list[int]:
            return [0] * len(pixels)

        def render(self, scene: int) -> np.ndarray:
            return np.full((8, 8, 3), 128, np.uint8)

    study = portrait_study(monkeypatch, count=1, levels=LEVELS)
    monkeypatch.setattr("latentedit_bench.experiments.guidance.domain", lambda name: Grey())
    monkeypatch.setattr("latentedit_bench.experiments.signed_edits.probability_reader", lambda _: None)
    assert Guidance().items(study) == [(0, level) for level in LEVELS]
    rows = Guidance(repeats=2).look_at(study, (0, 0.5))
    assert rows == Guidance(repeats=2).look_at(study, (0, 0.5))
    assert [row["kind"] for row in rows] == list(KINDS)
    assert [row["effect"] for row in rows] == pytest.approx([EFFECT] * 3, rel=CLOSE)
    (codec,) = {row["codec"] for row in rows}
    shown = study.backbone.decode(study.latents[0].z).clamp(-1, 1) - (128 / 127.5 - 1)
    assert codec == pytest.approx(float(shown.square().mean().sqrt()))
    assert len({row["off"] for row in rows}) == 3
    basis = study.walkable(study.basis(0, 0.5))
    (edit,) = signed_edits(basis, basis.v[:1], effect=EFFECT)
    moved = (study.backbone.decode(study.latents[0].z) + edit.change).clamp(-1, 1) - (128 / 127.5 - 1)
    expected = float(moved.square().flatten(1).mean(1).sqrt().mean()) - codec
    assert rows[0]["off"] == pytest.approx(expected, abs=1e-6)


def test_a_model_that_nobody_reads_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    study = portrait_study(monkeypatch, count=1)
    study.backbone.defaults = {}
    with pytest.raises(ConfigError, match="nobody reads"):
        Guidance().items(study)


def table_of(nearer: float, pictures: int = 7) -> pd.DataFrame:
    """Guidance is so much nearer than addition at 0.9, and twice as much at 0.5."""
    rows: list[dict[str, object]] = []
    for picture in range(pictures):
        for level, kind in ((level, kind) for level in LEVELS for kind in KINDS):
            share = {"addition": 0.0, "guidance": nearer * (1 if level == LEVELS[0] else 2), "random": -0.1}[kind]
            off = 0.3 - share * (1 + 0.02 * (picture - 3)) + 0.01 * picture
            row = {"model": "one", "picture": picture, "level": level, "kind": kind, "off": off}
            rows.append({**row, "codec": 0.1, "effect": 0.4, "read": 1.0})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("nearer", "verdict"), [(0.1, "holds"), (-0.1, "does not hold")])
def test_the_claim_follows_the_distance(nearer: float, verdict: str) -> None:
    found = Guidance().conclude(table_of(nearer))
    assert len(found.claims) == 5
    first, addition, guidance, high, low = found.claims
    assert [claim.verdict for claim in (first, high, low)] == [verdict] * 3
    assert [claim.estimate for claim in (first, high, low)] == pytest.approx([1.5 * nearer, nearer, 2 * nearer])
    assert addition.estimate - guidance.estimate == pytest.approx(first.estimate)
    assert first.samples == 7
    assert "addition less guidance" in first.measure


@pytest.mark.slow
def test_the_plot_has_a_line_a_way(tmp_path: Path) -> None:
    figure = drawn(Guidance(), table_of(0.1), tmp_path)
    assert legend(figure, 0) == [f"{label}, 95 %" for label in KINDS.values()]
    assert figure.axes[0].lines[1].get_ydata().tolist() == pytest.approx([0.23, 0.13])
