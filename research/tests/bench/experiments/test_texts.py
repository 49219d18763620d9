"""Prompts that differ from an image by a count of attributes."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from latentedit import LocalBasis
from latentedit_bench.data.prepared import to_tensor
from latentedit_bench.domains.base import attribute_differences
from latentedit_bench.experiments.distances import prompts
from latentedit_bench.experiments.texts import graded
from latentedit_drawn.domain import PORTRAITS as DOMAIN
from latentedit_portraits.attributes import VALUES, draw_split
from latentedit_portraits.captions import parse
from research.tests.bench.experiments.leaning import leaning_basis
from research.tests.bench.rendered_network import RenderedNetwork
from tests.editors.colors import ColorBackbone


def test_prompts_differ_from_the_image_in_the_requested_number_of_attributes() -> None:
    """Each scene has draws of its own, and each seed."""
    for own in draw_split("test", 12, 3):
        found = graded(DOMAIN, own, (0, 1, 4, 12), seed=2)
        assert found[0] == own
        assert [len(attribute_differences(DOMAIN, one, own)) for one in found] == [0, 1, 4, 12]
        assert found == graded(DOMAIN, own, (0, 1, 4, 12), seed=2)
        assert found[1:] != graded(DOMAIN, own, (0, 1, 4, 12), seed=3)[1:]


def test_prompts_begin_with_what_the_image_shows() -> None:
    """Each prompt has a basis of its own, and the similarity is the cosine of two texts' embeddings."""
    (own,), prompted = draw_split("test", 1, 3), list[str]()
    frame = SimpleNamespace(pixels=to_tensor([Image.fromarray(DOMAIN.render(own))])[0])

    def basis(image: int, level: float, *, prompt: str) -> LocalBasis:
        prompted.append(prompt)
        return leaning_basis(ColorBackbone(), 0.3 * (len(prompted) - 1))

    latents = [SimpleNamespace(frames=[frame])]
    study: Any = SimpleNamespace(backbone=RenderedNetwork(), latents=latents, basis=basis, seed=2, ranks="gap")
    rows = [row for row in prompts.function(study, 0.5, 0, replaced=(0, 1, 4)) if row["rank"] == 1]
    assert parse(prompted[0]) == {name: getattr(own, name) for name in VALUES}
    assert [row["distance"] for row in rows] == pytest.approx([0.3 * 2 / np.pi * lean for lean in (1, 2, 1)], abs=1e-3)
    first, second = (row["similarity"] for row in rows[:2])
    assert 1 > first > second > 0
