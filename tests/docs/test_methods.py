"""The table of editors on its page is that of the registry."""

import pytest
from tools.methods import PAGE, filled


@pytest.mark.nightly
def test_the_table_is_that_of_the_registry() -> None:
    """Where this fails: python -m tools.methods."""
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page) == page
    assert filled(page.replace("| `flowedit` |", "| `other` |")) == page
