import pytest

from latentedit.directions.hsds import HSDS
from latentedit.directions.settings import check_count, check_number, from_plain, to_plain
from latentedit.errors import ConfigError


def test_settings_come_back_as_they_were() -> None:
    config = HSDS(gamma=-0.5, levels=(0.8, 0.4), steps=3)
    plain = to_plain(config)
    assert plain["levels"] == [0.8, 0.4]
    assert from_plain(HSDS, plain) == config
    assert from_plain(HSDS, {"steps": 3}) == HSDS(steps=3)


def test_unknown_settings_are_refused_with_the_nearest_names() -> None:
    with pytest.raises(ConfigError, match="did you mean 'gamma'"):
        from_plain(HSDS, {"gama": 1.0})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.1, -0.1, True, "0.5", None])
def test_numbers_outside_their_range_are_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"expected level in \[0, 1\]"):
        check_number("level", value, 0, 1)


def test_an_open_end_refuses_its_bound() -> None:
    check_number("level", 0.0, 0, 1)
    with pytest.raises(ConfigError, match=r"\(0, 1\]"):
        check_number("level", 0.0, 0, 1, above=True)


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "3"])
def test_counts_are_whole_and_positive(value: object) -> None:
    check_count("steps", 1)
    with pytest.raises(ConfigError, match="whole number"):
        check_count("steps", value)
