import dataclasses
import math
from typing import Any

import pytest

from latentedit.core.errors import ConfigError
from latentedit.core.settings import Count, Level, check, from_plain, to_plain
from latentedit.directions.hsds import HSDS, Filter
from latentedit.editors.eim import EIM


def test_settings_inside_settings_take_their_defaults() -> None:
    config = HSDS(gamma=-0.5, levels=(0.8, 0.4), steps=3)
    plain = to_plain(config)
    assert plain["levels"] == [0.8, 0.4]
    assert from_plain(HSDS, plain) == config
    assert from_plain(HSDS, {"steps": 3}) == HSDS(steps=3)
    assert from_plain(EIM, {"search": {"steps": 24}}) == EIM(search=HSDS(steps=24))
    assert from_plain(EIM, {"search": HSDS(steps=24)}) == EIM(search=HSDS(steps=24))
    assert from_plain(EIM, {}) == EIM()
    editor = EIM(search=config, arm="text", level=0.3)
    assert to_plain(editor)["search"] == plain
    assert from_plain(EIM, to_plain(editor)) == editor


def test_unknown_settings_are_refused_with_the_nearest_names() -> None:
    with pytest.raises(ConfigError, match=r"HSDS has no setting 'gama': did you mean 'gamma'"):
        from_plain(HSDS, {"gama": 1.0})
    with pytest.raises(ConfigError, match=r"HSDS has no setting 'noise': did you mean 'noises'"):
        from_plain(EIM, {"search": {"noise": 3}})
    with pytest.raises(ConfigError, match=r"EIM has no setting 'noises'"):
        from_plain(EIM, {"noises": 3})

    for value in (3, "hsds", None, [1]):
        with pytest.raises(ConfigError, match=r"the settings of HSDS must be given by name; got"):
            from_plain(EIM, {"search": value})


@pytest.mark.parametrize(
    ("setting", "value", "problem"),
    [
        ("steps", 0, "steps must be at least 1; got 0"),
        ("steps", 10**9, "steps must be at most 10000; got 1000000000"),
        ("steps", "3", "steps must be a whole number; got '3'"),
        ("steps", 2.5, "steps must be a whole number; got 2.5"),
        ("noises", True, "noises must be a whole number; got True"),
        ("damping", True, "damping must be a number; got True"),
        ("damping", math.nan, "damping must be a finite number; got nan"),
        ("keep_source", 1.1, "keep_source must be at most 1; got 1.1"),
        ("shift", 0.0, "shift must be above 0; got 0.0"),
        ("antithetic", 1, "antithetic must be true or false; got 1"),
        ("levels", (1.5, 0.5), r"levels\[0\] must be at most 1; got 1.5"),
        ("levels", (0.3, 0.5), "levels must fall, from the first to the last"),
        ("levels", (0.3,), r"levels\[1\] is missing"),
        ("residual", "ddss", "no residual 'ddss': did you mean 'dds'"),
        ("projection", 3, "no projection 3: known: kkt, none, null-space"),
    ],
)
def test_a_wrong_setting_is_one_line_that_leads_with_the_problem(setting: str, value: object, problem: str) -> None:
    values: dict[str, Any] = {setting: value}
    with pytest.raises(ConfigError, match=f"^(there is )?{problem}[^\n]*$"):
        HSDS(**values)


def test_all_problems_come_at_once_and_a_copy_is_checked_like_the_first() -> None:
    with pytest.raises(ConfigError, match=r"^steps must be at least 1; got 0; noises must be at least 1; got -1$"):
        HSDS(steps=0, noises=-1)
    with pytest.raises(ConfigError, match="steps must be at least 1"):
        dataclasses.replace(HSDS(), steps=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        HSDS().steps = 3  # pyright: ignore[reportAttributeAccessIssue]


def test_arguments_are_checked_by_the_same_types() -> None:
    check(Level, level=1.0)
    check(Count, steps=1)
    check(Count, steps=10_000)
    check(Filter, filter="newton")
    with pytest.raises(ConfigError, match=r"^level must be above 0; got 0$"):
        check(Level, level=0)
    with pytest.raises(ConfigError, match=r"^steps must be a whole number; got True$"):
        check(Count, steps=True)
    with pytest.raises(ConfigError, match=r"^there is no filter 'newtown': did you mean 'newton'"):
        check(Filter, filter="newtown")
