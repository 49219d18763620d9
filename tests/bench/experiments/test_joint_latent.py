"""The arms in closed form, and batches of items with known answers."""

from pathlib import Path

import pytest
import torch

from latentedit_bench.experiments import items as module
from latentedit_bench.experiments.experiment import Context
from latentedit_bench.experiments.items import SCORES, Items
from latentedit_bench.experiments.joint_latent import joint_latent
from tests.bench.rendered_network import COLOURS, RenderedNetwork, prepared


def test_the_arms_on_a_field_that_is_linear() -> None:
    """``v = z/2 - s B c``: a step back takes u to ``(1 - h/2) u``, and under the target text adds ``h s B n``."""
    batch, level = prepared(3, reads=False), 0.8
    latent = batch.latent
    looked = joint_latent.look(batch, seed=3, levels=(level,), steps=5)
    found = {(about["arm"], about["search"]): (about["level"], z - latent.z) for about, z in looked}
    searches = ("annealed", "one look")
    assert set(found) == {("text", "")} | {(arm, one) for arm in ("direct", "image", "joint") for one in searches}
    h, said = level / 4, (batch.target - latent.condition).tokens[:, 0] @ COLOURS
    share, by_text = 1 - level, torch.zeros_like(said)
    for s in (0.6, 0.4, 0.2, 0.0):
        share, by_text = share * (1 - h / 2), by_text * (1 - h / 2) + h * s * said
    text = by_text[:, :, None, None].expand_as(latent.z)
    for (arm, search), (at, moved) in found.items():
        d = found["direct", search or "annealed"][1]
        expected = {"direct": d, "text": text, "image": share * d, "joint": share * d + text}[arm]
        assert at == (0 if arm == "direct" else level)
        torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-5, msg=f"{arm} {search}")
    assert float(found["direct", "annealed"][1].abs().max()) > 0.01
    assert not torch.allclose(found["direct", "annealed"][1], found["direct", "one look"][1])


def test_every_item_of_every_model_is_in_one_batch(tmp_path: Path) -> None:
    source, at = Items(models=("a", "b"), items=20, others=5, captions=("full",)), Context(folder=tmp_path, command="")
    assert source.units(joint_latent.look, at) == [("a", "full", 0, 16), ("a", "full", 16, 4), ("b", "full", 0, 5)]


def test_an_item_that_keeps_its_latent_scores_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the rows say of which item and group they are."""
    monkeypatch.setattr(module, "load", lambda name, **_: RenderedNetwork())
    source, at = Items(models=("there/portraits",), items=6), Context(folder=tmp_path, command="")
    rows = list(
        source.measure(
            lambda batch, seed: [({"arm": "none"}, batch.latent.z)], ("there/portraits", "partial", 4, 2), at
        )
    )
    assert [row["model"] for row in rows] == ["portraits"] * 2
    wanted = module.asking(source, "partial", first=6).items[4:]
    assert [(row["item"], row["group"], row["arm"]) for row in rows] == [(one.id, one.group, "none") for one in wanted]
    assert all(one.about["asked"] for one in wanted)
    assert [row["effect"] for row in rows] == pytest.approx([0, 0], abs=0.02)
    assert set(SCORES) | {"error"} <= set(rows[0])
