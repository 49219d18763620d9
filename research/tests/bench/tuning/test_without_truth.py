"""Search for settings without ground truth: its cost, its criteria, and its choice."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from latentedit import Condition, JointLatent
from latentedit.calibration import Judged, VerdictCalibration, calibrate, losses_at
from latentedit.editors import EIM
from latentedit_bench.tuning import without_truth
from latentedit_bench.tuning.without_truth import (
    Criteria,
    Search,
    candidates,
    consensus_distances,
    rank_sums,
    search_settings,
    smaller,
)
from tests.editors.colors import ColorBackbone, red_and_blue

SEARCH = Search(images=3, steps=2, batch=2)
CAPTIONS = ["red", "blue", "green"]


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reduces the search to three candidates and the default."""
    names = ("usual", "from level 0.6", "3 steps")
    monkeypatch.setattr(without_truth, "AROUND", {name: without_truth.AROUND[name] for name in names})


@pytest.fixture
def colors() -> ColorBackbone:
    return ColorBackbone()


def test_each_candidate_edits_each_image_once(colors: ColorBackbone) -> None:
    reports: list[tuple[str, int, int]] = []
    with colors.count() as cost:
        result = search_settings(colors, captions=CAPTIONS, how=SEARCH, progress=lambda *step: reports.append(step))
    best = result.eim
    sizes = VerdictCalibration(images=3, steps=2, batch=2)
    with colors.count() as verdict:
        alone = calibrate(colors, editor=best, captions=CAPTIONS, parts=["settings"], verdict_sizes=sizes).settings
    assert alone is not None
    losses = 4 * 4
    edits = sum(editor.search.evaluations() + losses for editor in candidates(colors).values())
    assert cost.evaluations - verdict.evaluations == 3 * (SEARCH.steps + losses + edits)
    assert reports == [("settings", 1, 2), ("settings", 2, 2), *(("settings", step, 3) for step in (1, 2, 3))]
    assert (result.judge, result.strengths) == (alone.judge, alone.strengths)
    assert set(result.tried) == set(candidates(colors))


def test_the_chosen_settings_have_the_smallest_true_error(
    colors: ColorBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For Gaussians of equal covariance, the correct edit adds the difference of the means."""
    errors: dict[str, list[float]] = {name: [] for name in candidates(colors)}
    edit = EIM.edit

    def recording_edit(self: EIM, latent: JointLatent, target: Condition, *args: object, **kwargs: object) -> object:
        edited = edit(self, latent, target, *args, **kwargs)  # type: ignore[arg-type]
        shift = (target.tokens[:, 0] - latent.condition.tokens[:, 0])[:, :, None, None]
        error = (edited[0].z - latent.z - shift).square().sum() / shift.expand_as(latent.z).square().sum()
        name = next(key for key, candidate in candidates(colors).items() if candidate == self)
        errors[name].append(float(error))
        return edited

    monkeypatch.setattr(EIM, "edit", recording_edit)
    result = search_settings(colors, captions=CAPTIONS, how=SEARCH)
    mean_errors = {name: sum(values) / len(values) for name, values in errors.items()}
    best = next(iter(result.tried))
    assert mean_errors[best] < 5e-4, "all but one candidate make the full edit; the remaining error is noise"
    assert max(mean_errors, key=mean_errors.__getitem__) == list(result.tried)[-1] == "from level 0.6"
    assert result.eim == candidates(colors)[best]


def test_the_best_third_of_the_candidates_continues(colors: ColorBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = search_settings(colors, captions=CAPTIONS, how=dataclasses.replace(SEARCH, images=2))
    tried = list[list[str]]()
    evaluate = without_truth.evaluate_settings

    def recording(*given: Any, seed: int) -> dict[str, Criteria]:
        tried.append(sorted(given[-1]))
        return evaluate(*given, seed=seed)

    monkeypatch.setattr(without_truth, "evaluate_settings", recording)
    how = dataclasses.replace(SEARCH, images=4, first=2)
    result = search_settings(colors, captions=CAPTIONS, how=how)
    assert tried == [sorted(candidates(colors)), sorted(list(whole.tried)[:2])]
    assert list(result.tried)[2:] == list(whole.tried)[2:], "those that were dropped keep their order"


def test_consensus_distances_are_measured_from_the_median_of_the_others() -> None:
    changes = torch.randn(6, 2, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    overall_median = changes.quantile(0.5, dim=0)
    distances = consensus_distances(changes)
    assert distances.shape == (6, 2)
    for index, result in enumerate(distances):
        others = torch.cat([changes[:index], changes[index + 1 :]]).median(dim=0).values
        expected = (changes[index] - others).flatten(1).norm(dim=1) / overall_median.flatten(1).norm(dim=1)
        torch.testing.assert_close(result, expected.double(), rtol=1e-5, atol=1e-6)


def test_equal_changes_have_no_consensus_distance() -> None:
    changes = torch.zeros(4, 1, 3, 2, 2)
    changes[:3] = 0.5
    assert consensus_distances(changes)[:3].tolist() == [[0.0]] * 3
    assert consensus_distances(changes)[3].item() == pytest.approx(1)


def criteria(before: Tensor, after: Tensor) -> Criteria:
    """The criteria of edits that agree with all other candidates."""
    judged, agreed = Judged.of(before, after), torch.zeros(before.shape[-1]).double()
    losses = {"own": judged.own, "target": judged.target, "margin": judged.margin}
    return Criteria(**losses, consensus=agreed, full_consensus=agreed)


def test_correct_edits_have_the_best_criteria() -> None:
    """The optimal edit adds the difference of the means."""
    color_latent = red_and_blue()
    target = color_latent.backbone.embed(["green", "red"])
    shift = (target.tokens[:, 0] - color_latent.condition.tokens[:, 0])[:, :, None, None]
    texts = (color_latent.condition, target)
    before = losses_at(color_latent, texts, color_latent.z, seed=0)
    for name, best_value in (("residual", 1.0), ("share", 0.0)):
        means = {
            scale: criteria(before, losses_at(color_latent, texts, color_latent.z + scale * shift, seed=0)).means[name]
            for scale in (0.0, 0.5, 1.0, 1.5, 3.0)
        }
        assert min(means, key=means.__getitem__) == 1.0, name
        assert means[1.0] == pytest.approx(best_value, abs=0.05), name
        assert means[0.0] > means[0.5], name


def test_rank_sums_average_ties() -> None:
    rows = [(1.0, 0.1, 5.0, 9.0), (2.0, 0.1, 4.0, 0.0), (3.0, 0.2, 6.0, 0.0)]
    means = [dict(zip(("residual", "share", "consensus", "consensus, not local"), row, strict=True)) for row in rows]
    assert rank_sums(means) == [1 + 1.5 + 2, 2 + 1.5 + 1, 9.0]


def test_large_changes_are_compared_at_128_pixels() -> None:
    change = torch.rand(1, 3, 256, 512, generator=torch.Generator().manual_seed(0))
    assert smaller(change).shape == (1, 3, 64, 128)
    assert smaller(change).mean().item() == pytest.approx(change.mean().item(), abs=1e-6)
    assert smaller(change[..., :100, :100]).shape[2:] == (100, 100)
