import pytest

from latentedit.core.errors import ConfigError
from latentedit_bench.analysis.base import Analysis
from latentedit_bench.analysis.registry import ANALYSES, make_analysis


@pytest.mark.parametrize("name", ANALYSES)
def test_every_name_is_an_analysis_of_that_name_with_plain_settings(name: str) -> None:
    analysis = make_analysis(name)
    assert isinstance(analysis, Analysis)
    assert analysis.name == name
    assert analysis.title
    assert analysis.fewest >= 1
    assert all(isinstance(value, str | int | float | tuple | None) for value in analysis.settings.values())


def test_settings_are_passed_on_and_told() -> None:
    assert make_analysis("spectrum", rank=3).settings["rank"] == 3


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'samples'"):
        make_analysis("sample")
