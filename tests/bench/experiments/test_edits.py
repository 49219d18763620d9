"""What edits change: areas of attributes, frequencies of pixels, and the levels at which that is read."""

import math

import pandas as pd
import pytest
import torch

from latentedit_bench.experiments import edits as module
from latentedit_bench.experiments.edits import _where_read, edits
from latentedit_bench.experiments.signed_edits import SignedEdit, coarseness
from latentedit_bench.experiments.study import Study
from tests.editors.colours import ColourBackbone
from tests.editors.edits import grey

AREAS = {"background": 0.5, "hair": 0.3, "mouth": 0.02}


def test_coarseness_is_of_what_changes() -> None:
    assert coarseness({"mouth": 0.3}, AREAS) == pytest.approx(0.02)
    assert coarseness({"background": 0.3, "mouth": 0.3}, AREAS) == pytest.approx(0.26)
    assert coarseness({"background": 0.04, "mouth": 0.05}, AREAS) is None
    assert coarseness({}, AREAS) is None


def test_rows_say_what_the_first_direction_and_a_random_one_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stripes of every second column have the frequency 1, whatever their sign; nothing has none."""
    stripes = torch.tensor([1.0, -1.0]).repeat(8) * torch.tensor([1.0, -1.0])[:, None, None, None]
    shifts = {"hair": torch.tensor([[-0.6, 0.6], [0.2, -0.2]]), "mouth": torch.tensor([[0.0, 0.0], [-0.2, 0.2]])}
    known = SignedEdit(effect=0.4, change=0.1 * stripes.expand(2, 3, 16, 16), shifts=shifts)
    still = SignedEdit(effect=0.0, change=torch.zeros(2, 3, 16, 16), shifts={})
    given: list[torch.Tensor] = []
    monkeypatch.setattr(module, "attribute_areas", lambda _: AREAS)
    monkeypatch.setattr(module, "signed_edits", lambda basis, units: given.append(units) or [known, still])
    model = ColourBackbone()
    model.defaults = {"captioner": "portraits"}
    study = Study.of(model, [grey()], levels=(0.5,), rank=2, site="clean", steps=4)
    first, second = edits.look(study, 0.5, 0)
    assert first == {"kind": "basis", "coarseness": pytest.approx(0.122 / 0.5), "centroid": pytest.approx(1)}
    assert second == {"kind": "random", "coarseness": None, "centroid": None}
    torch.testing.assert_close(given[0][:1], study.basis(0, 0.5).v[:1])
    assert len(given[0]) == 2


@pytest.mark.parametrize(("read", "lowest"), [(6, 0.1), (5, 0.5), (0, 0.5)])
def test_levels_at_which_too_few_images_are_read_do_not_count(read: int, lowest: float) -> None:
    """Below the lowest at which the changes of six images are read, of the basis and of random directions alike."""
    rows = pd.DataFrame(
        {"model": "one", "kind": kind, "picture": picture, "level": level, "coarseness": size}
        for kind in ("basis", "random")
        for picture in range(7)
        for level in (0.9, 0.5, 0.1)
        for size in [None if level == 0.1 and kind == "basis" and picture >= read else 0.3]
    )
    found = _where_read(rows)
    known = found[found["coarseness"].notna()]
    assert known["level"].min() == lowest
    assert found["coarseness"].dtype == float
    nothing = _where_read(rows.assign(coarseness=None))
    assert math.isnan(nothing["coarseness"].mean())
