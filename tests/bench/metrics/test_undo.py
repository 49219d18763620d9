import pytest
from torchmetrics.functional.image import peak_signal_noise_ratio

from latentedit_bench.metrics.undo import undo_error, undo_psnr_db
from tests.bench.metrics.constructed import noise, world


def test_known_returns() -> None:
    w = world()
    for effect, leakage, expected in [(0.0, 0.0, 0.0), (1.0, 0.0, 1.0), (0.5, 0.0, 0.25), (-1.0, 1.0, 2.0)]:
        found = undo_error(w.edited(effect, leakage), w.truth, w.source)
        assert found.tolist() == pytest.approx([expected] * 2, abs=1e-13)
    assert undo_error(w.truth, w.source, w.source).isnan().all(), "nothing to undo"
    assert undo_error(w.source, w.source, w.source).isnan().all()


def test_decibels_are_those_of_torchmetrics() -> None:
    returned, source = (noise(3, 3, 5, 7, seed=seed, scale=0.2).clamp(-1, 1) for seed in (0, 1))
    found = undo_psnr_db(returned, source)
    for row in range(3):
        theirs = peak_signal_noise_ratio(returned[row], source[row], data_range=(-1.0, 1.0))
        assert found[row].item() == pytest.approx(theirs.item(), rel=1e-6)  # theirs has a logarithm in single precision
    assert undo_psnr_db(source, source).tolist() == [100] * 3
