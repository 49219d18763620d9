"""A captioner's mistakes: in what should stay, at the given rate, and the same in both captions."""

import pytest

from latentedit.latents.captions.change import changed_phrases
from latentedit_bench.data.counterfactual import counterfactual
from latentedit_bench.domains.base import load_domain
from latentedit_bench.experiments.caption_mistakes import MISSING, WRONG, mistaken

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
