"""Every word that a report's columns use is explained in a line."""

import pytest

from latentedit_bench.ranking.summaries import SHOWN
from latentedit_bench.report.report import GLOSSARY


@pytest.mark.parametrize("word", [*SHOWN.values(), "reaches it", "leakage"])
def test_every_measure_is_explained(word: str) -> None:
    assert word in GLOSSARY


def test_explanations_are_one_sentence_each() -> None:
    assert all(text.endswith(".") and "\n" not in text and len(text) < 220 for text in GLOSSARY.values())
