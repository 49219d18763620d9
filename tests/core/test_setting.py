import dataclasses
import math
from typing import Any

import pytest

from latentedit.core.errors import ConfigError
from latentedit.core.setting import Count, Level, check_value, from_plain, to_plain
from latentedit.editors.eim import EIM
from latentedit.identification.filters import Filter
from latentedit.identification.hsds import HSDS


def test_nested_settings_round_trip_and_use_defaults() -> None:
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


@pytest.mark.parametrize(
    ("settings", "values", "named"),
    [
        (HSDS, {"gama": 1.0}, "gamma"),
        (EIM, {"search": {"noise": 3}}, "noises"),
        (EIM, {"search": {"gamma": 2.0}}, "gamma"),
        (EIM, {"noises": 3}, None),
        *((EIM, {"search": value}, None) for value in (3, "hsds", None, [1])),
    ],
)
def test_unknown_settings_are_rejected_with_the_nearest_names(
    settings: type[HSDS | EIM], values: dict[str, Any], named: str | None
) -> None:
    with pytest.raises(ConfigError, match=named):
        from_plain(settings, values)


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("steps", 0, "1.*0"),
        ("steps", 10**9, "10000.*1000000000"),
        ("steps", "3", "'3'"),
        ("steps", 2.5, "2.5"),
        ("noises", True, "True"),
        ("damping", True, "True"),
        ("damping", math.nan, "nan"),
        ("keep_source", 1.1, "1.*1.1"),
        ("shift", 0.0, "0.*0.0"),
        ("antithetic", 1, "1"),
        ("levels", (1.5, 0.5), r"\[0\].*1.*1.5"),
        ("levels", (0.3, 0.5), r"\[0.3, 0.5\]"),
        ("levels", (0.3,), r"\[1\]"),
        ("residual", "ddss", "'ddss'.*'dds'"),
        ("filter", 3, "3.*gamma, levenberg-marquardt, newton"),
    ],
)
def test_errors_name_the_setting_and_its_value_in_one_line(setting: str, value: object, expected: str) -> None:
    values: dict[str, Any] = {setting: value}
    with pytest.raises(ConfigError, match=rf"^[^\n]*{setting}.*{expected}[^\n]*$"):
        HSDS(**values)


def test_copies_are_validated_and_settings_are_frozen() -> None:
    with pytest.raises(ConfigError):
        HSDS(steps=0, noises=-1)
    with pytest.raises(ConfigError):
        dataclasses.replace(HSDS(), steps=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        HSDS().steps = 3


def test_check_value_uses_the_types_of_settings() -> None:
    check_value(Level, level=1.0)
    check_value(Count, steps=1)
    check_value(Count, steps=10_000)
    check_value(Filter, filter="newton")
    with pytest.raises(ConfigError):
        check_value(Level, level=0)
    with pytest.raises(ConfigError):
        check_value(Count, steps=True)
    with pytest.raises(ConfigError, match="newton"):
        check_value(Filter, filter="newtown")
