"""A captioner's mistakes: in what should stay, at the given rate, and the same in both captions."""

from pathlib import Path

import pandas as pd
import pytest

from latentedit.latents.captions.change import changed_phrases
from latentedit_bench.data.counterfactual import counterfactual
from latentedit_bench.domains.base import load_domain
from latentedit_bench.experiments.caption_mistakes import MISSING, WRONG, caption_mistakes, mistaken
from latentedit_bench.experiments.experiment import Context
from tests.bench.rendered_network import RenderedNetwork

ITEMS = [item for item in counterfactual("portraits", "test").items if item.about["requested"]][:60]


@pytest.mark.parametrize("mistake", [WRONG, MISSING])
def test_mistakes_are_in_both_captions_and_leave_the_request(mistake: str) -> None:
    domain, shares = load_domain("portraits"), dict[float, float]()
    for rate in (0.0, 0.1, 0.2, 1.0):
        wrong = total = 0
        for item in ITEMS:
            found = mistaken(item, mistake, rate)
            assert found.change == item.change
            removed, added = changed_phrases(item.source_caption, found.source_caption)
            assert changed_phrases(item.target_caption, found.target_caption) == (removed, added)
            assert len(added) == (len(removed) if mistake == WRONG else 0)
            wrong += len(removed)
            total += sum(
                a == b for a, b in zip(*(domain.phrases(one.scene) for one in (item.image, item.truth)), strict=True)
            )
        shares[rate] = wrong / total
    assert shares[0.0] == 0
    assert shares[0.1] == pytest.approx(0.1, abs=0.05)
    assert shares[0.1] < shares[0.2] < shares[1.0]


@pytest.mark.slow
def test_both_editors_get_the_same_mistakes_and_exact_captions_are_edited_once(tmp_path: Path) -> None:
    reported = list[tuple[str, int, int]]()
    at = Context(folder=tmp_path, command="it", progress=lambda *step: reported.append(step))
    at.cache["model", "there/portraits"] = RenderedNetwork()
    one = caption_mistakes.changed(models=("there/portraits",), items=2, rates=(0.0, 0.5))
    rows = one.source.rows(one, at)
    folders = ["exact", *(f"{mistake}-0.5-{completed}" for mistake in (WRONG, MISSING) for completed in ("no", "yes"))]
    assert list(dict.fromkeys(where for where, *_ in reported)) == [f"portraits-full-{name}" for name in folders]
    assert {place.name for place in tmp_path.iterdir()} == {where for where, *_ in reported}
    assert {*rows["model"], *rows["captions"], *rows["method"]} == {"portraits", "full", "eim", "flowedit"}
    assert len(rows) == 2 * 2 * 2 * 2 * 2, "items, methods, rates, mistakes, completed or not"
    assert (rows["line"] == rows["method"] + rows["completed"].map({"no": "", "yes": ", completed"})).all()
    assert (rows["capped"] == rows["error"].clip(upper=1)).all()
    assert rows["requested"].all()
    parts = [part["error"].tolist() for _, part in rows[rows["rate"] == 0].groupby(["mistake", "completed"])]
    assert all(part == parts[0] for part in parts)
    wrong = [part["error"].tolist() for _, part in rows[rows["rate"] == 0.5].groupby(["mistake", "completed"])]
    assert all(part != parts[0] for part in wrong[2:]), "wrong phrases are in the captions"
    pd.testing.assert_frame_equal(one.source.rows(one, at), rows)
