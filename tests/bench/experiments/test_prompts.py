import itertools
import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentedit.core.errors import ConfigError
from latentedit.models.registry import load
from latentedit.testing.miniature import miniature_ddpm
from latentedit_bench.domains.base import differences
from latentedit_bench.experiments.prompts import Prompts, graded, shuffled_level
from latentedit_bench.experiments.study import Study
from latentedit_portraits.attributes import VALUES, draw_split
from latentedit_portraits.domain import PORTRAITS
from tests.bench.experiments.gaussians import beside, drawn, legend
from tests.bench.experiments.portrait_network import portrait_study

LEVELS = (0.9, 0.5, 0.1)
REPLACED = (0, 1, 4, 12)


@pytest.mark.nightly
@given(which=st.integers(0, 199), seed=st.integers(0, 5))
def test_prompts_differ_from_the_picture_in_exactly_so_many_attributes(which: int, seed: int) -> None:
    own = draw_split("test", 200, 3)[which]
    found = graded(PORTRAITS, own, seed=seed)
    assert [len(differences(PORTRAITS, one, own)) for one in found] == list(REPLACED)
    assert found == graded(PORTRAITS, own, seed=seed)
    assert found[1:] != graded(PORTRAITS, own, seed=seed + 1)[1:]


@pytest.mark.nightly
def test_rows_tell_what_prompts_share_and_how_far_their_spaces_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cosine of two captions of twelve attributes, a one each, is the share that they have in common."""
    study, analysis = portrait_study(monkeypatch, count=1), Prompts()
    assert analysis.items(study) == [(0, 0.9), (0, 0.2)]
    rows = pd.DataFrame([row for item in analysis.items(study) for row in analysis.look_at(study, item)])
    assert len(rows) == 2 * 2 * 2 * 6  # levels, spaces, ranks, pairs
    everything, rows = rows, rows[rows["rank"] == 2]
    assert rows["similarity"].tolist() == pytest.approx((rows["common"] / len(VALUES)).tolist())
    own = rows[rows["replaced"] == 0]
    assert (own["common"] == 12 - own["other_replaced"]).all()
    high, low = (rows[(rows["level"] == level) & (rows["space"] == "h")] for level in (0.9, 0.2))
    # The text enters the network times s, so it tells tangent spaces apart by more where s is larger.
    assert high["distance"].mean() > 1.2 * low["distance"].mean()
    assert high["similarity"].corr(high["distance"], method="spearman") < -0.3
    again = analysis.look_at(study, (0, 0.9))
    pd.testing.assert_frame_equal(pd.DataFrame(again), everything.iloc[: len(again)], check_dtype=False)


@pytest.mark.slow
def test_bases_are_taken_at_one_latent(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of no text, whatever the prompt: only then do they differ by the prompt alone."""
    study = portrait_study(monkeypatch, count=1)
    asked: list[tuple[float, str]] = []
    basis = Study.basis

    def watched(self: Study, picture: int, level: float, **more: str) -> object:
        found = basis(self, picture, level, **more)
        asked.append((float(found.trace.top.sum()), found.prompt))
        return found

    monkeypatch.setattr(Study, "basis", watched)
    Prompts().look_at(study, (0, 0.9))
    assert len({prompt for _, prompt in asked}) == 4
    assert len({top for top, _ in asked}) == 1


@pytest.mark.slow
def test_the_pooled_part_counts_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it tells the skin alone, so similarities are 0 or 1."""
    rows = Prompts().look_at(portrait_study(monkeypatch, pooled=True, count=1), (0, 0.9))
    assert {row["similarity"] for row in rows} <= {0.0, 1.0}


def test_a_model_without_text_or_a_reader_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = Study(backbone=load(miniature_ddpm(tmp_path / "ddpm"), device="cpu"), latents=(), levels=LEVELS)
    blind = portrait_study(monkeypatch, count=1)
    blind.backbone.defaults = {}
    for study, lack in ((silent, "model that reads text"), (blind, "captions of a domain")):
        with pytest.raises(ConfigError, match=lack):
            Prompts().items(study)


def table_of(high: float, low: float, *, noise: float = 0.0, pictures: int = 7) -> pd.DataFrame:
    """Distances ``d (1 - similarity)`` with d from ``high`` at level 0.9 to ``low`` at 0.1; negative d turns them.

    Noise is an order of its own for each picture, whose share grows to ``noise`` as the level falls.
    """
    rows: list[dict[str, object]] = []
    for picture, level, space in itertools.product(range(pictures), LEVELS, "hx"):
        about = {"model": "one", "picture": picture, "level": level, "space": space}
        size = low + (high - low) * (level - 0.1) / 0.8 + 0.002 * (picture - 3)
        for index, rank in itertools.product(range(10), (1, 2)):
            shuffled = ((index * 7 + 3 * picture + 2) % 10 - 4.5) / 10 * noise * (0.9 - level)
            distance = 0.5 + size * (1 - index / 10) + shuffled
            null = {"null": 0.95, "null_low": 0.94, "null_high": 0.96}
            about |= {"rank": rank, "gap": rank / 10}
            rows.append({**about, "similarity": index / 10, "common": index, "distance": distance, **null})
    return pd.DataFrame(rows)


def none(table: pd.DataFrame) -> pd.DataFrame:
    """The same of a twin whose distances do not follow the texts: in every picture another order, at every level."""
    place = (table["similarity"] * 10).round().astype(int)
    return table.assign(distance=0.9 + 0.01 * ((7 * place + 3 * table["picture"]) % 10))


@pytest.mark.nightly
def test_claims_hold_where_influence_is_ordered_and_fades() -> None:
    table = table_of(0.3, 0.05, noise=0.5)
    found = Prompts().conclude(beside(table, none(table)))
    assert len(found.claims) == 10
    similar, alone, of_twin, other, fades, _, _, weaker = found.claims[:8]
    assert {similar.verdict, other.verdict, fades.verdict, weaker.verdict} == {"holds"}
    assert ("rank 2 (fitted)" in similar.measure, "rank 1" in other.measure) == (True, True)
    assert alone.estimate == pytest.approx(1)
    assert similar.estimate == pytest.approx(1 - of_twin.estimate)
    assert abs(of_twin.estimate) < 0.4
    assert fades.estimate == pytest.approx(0.25 * 0.55)  # the mean of 1 - similarity; the noise has the mean 0
    assert 0.2 < weaker.estimate < 2
    assert similar.samples == 7


@pytest.mark.slow
def test_what_the_twin_does_as_well_is_no_finding() -> None:
    table = table_of(0.3, 0.05, noise=0.5)
    found = Prompts().conclude(beside(table, table))
    assert found.claims[0].estimate == 0
    assert found.claims[0].verdict == "undecided at this size"
    assert found.claims[1].verdict == "holds"


@pytest.mark.slow
def test_claims_do_not_hold_where_influence_is_turned_and_grows() -> None:
    """At 0.9 similar prompts lie further apart, at 0.1 closer together, and further apart on the whole."""
    table = table_of(-0.2, 0.2)
    found = Prompts().conclude(beside(table, none(table)))
    numbers = [found.claims[index] for index in (1, 5, 8)]
    assert [claim.estimate for claim in numbers] == pytest.approx([-1, -0.4 * 0.55, -2])
    assert {found.claims[index].verdict for index in (0, 4, 7)} == {"does not hold"}


def test_the_shuffled_level_is_that_of_independent_ranks() -> None:
    """Spearman's correlation of ten independent ranks has the variance 1 / 9; the mean over seven pictures 1 / 63."""
    low, high = shuffled_level(table_of(0.3, 0.3).query("level == 0.9 and space == 'h' and rank == 1"))
    expected = 1.96 / math.sqrt(63)
    # Quantiles of 1000 draws at 2.5 % are known to some 5 %; three times that.
    assert high == pytest.approx(expected, rel=0.15)
    assert low == pytest.approx(-expected, rel=0.15)


@pytest.mark.slow
def test_equal_distances_have_no_correlation() -> None:
    table = table_of(0.0, 0.0).assign(distance=0.5)
    assert all(math.isnan(end) for end in shuffled_level(table))
    found = Prompts().conclude(beside(table, table))
    assert found.claims[0].verdict == "undecided at this size"
    assert math.isnan(found.claims[0].estimate)


@pytest.mark.nightly
def test_the_plot_shows_pairs_levels_and_controls(tmp_path: Path) -> None:
    figure = drawn(Prompts(), beside(table_of(0.3, 0.05, noise=0.5), none(table_of(0.3, 0.05))), tmp_path)
    assert legend(figure, 0) == ["level 0.90", "level 0.50", "level 0.10", "random subspaces"]
    assert legend(figure, 1)[-1] == "random subspaces"
    assert legend(figure, 2)[-1] == "similarities shuffled, 95 %"
    assert figure.axes[2].lines[0].get_ydata()[0] == pytest.approx(1)
