from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentedit.core.errors import ConfigError
from latentedit.core.settings import check_choice, check_count, check_number, from_plain, to_plain
from latentedit.directions.distillation import Residual
from latentedit.directions.filters import Filter
from latentedit.directions.hsds import HSDS, Projection
from latentedit.editors.eim import EIM


def test_settings_come_back_as_they_were() -> None:
    config = HSDS(gamma=-0.5, levels=(0.8, 0.4), steps=3)
    plain = to_plain(config)
    assert plain["levels"] == [0.8, 0.4]
    assert from_plain(HSDS, plain) == config
    assert from_plain(HSDS, {"steps": 3}) == HSDS(steps=3)


@given(
    search=st.builds(
        HSDS,
        levels=st.sampled_from([(0.9, 0.3), (1.0, 0.2)]),
        steps=st.integers(1, 9),
        step_size=st.none() | st.floats(0.1, 1.0),
        shift=st.floats(0.5, 4.0),
        noises=st.sampled_from([2, 4]),
        antithetic=st.booleans(),
        keep=st.floats(0, 1),
        release=st.floats(0, 1),
    ),
    arm=st.sampled_from(["image", "text", "joint"]),
    level=st.floats(0.1, 1.0),
)
def test_settings_inside_settings_come_back_too(search: HSDS, arm: str, level: float) -> None:
    editor = EIM(search=search, arm=arm, level=level)
    plain = to_plain(editor)
    assert plain["search"] == to_plain(search)
    assert from_plain(EIM, plain) == editor


def test_what_is_left_out_inside_takes_its_default() -> None:
    assert from_plain(EIM, {"search": {"steps": 24}}) == EIM(search=HSDS(steps=24))
    assert from_plain(EIM, {"search": HSDS(steps=24)}) == EIM(search=HSDS(steps=24))
    assert from_plain(EIM, {}) == EIM()


def test_unknown_settings_are_refused_with_the_nearest_names() -> None:
    with pytest.raises(ConfigError, match="settings of HSDS; got 'gama': did you mean 'gamma'"):
        from_plain(HSDS, {"gama": 1.0})
    with pytest.raises(ConfigError, match="settings of HSDS; got 'noise': did you mean 'noises'"):
        from_plain(EIM, {"search": {"noise": 3}})
    with pytest.raises(ConfigError, match="settings of EIM; got 'noises'"):
        from_plain(EIM, {"noises": 3})


@pytest.mark.parametrize("value", [3, "hsds", None, [1]])
def test_settings_inside_that_are_no_settings_are_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="the settings of HSDS by name; got"):
        from_plain(EIM, {"search": value})


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


@pytest.mark.parametrize(
    ("name", "value", "kinds", "hint"),
    [("residual", "ddss", Residual, "dds"), ("filter", "newtown", Filter, "newton"), ("projection", 3, Projection, "")],
)
def test_names_that_are_no_choice_are_refused_with_the_nearest(
    name: str, value: object, kinds: object, hint: str
) -> None:
    check_choice(name, get_args(kinds)[0], kinds)
    with pytest.raises(ConfigError, match=f"expected a known {name}; got {value!r}: .*{hint}"):
        check_choice(name, value, kinds)
