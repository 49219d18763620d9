"""Formats of files do not change without a new number, or without a reader of what was written."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tools import formats

Stored = dict[str, dict[str, Any]]


def renamed(now: Stored) -> None:
    fields = now["record"]["fields"]
    fields["RunRecord.text"] = fields.pop("RunRecord.caption")


def added_below(now: Stored) -> None:
    now["record of keep"]["fields"]["KeptImage.folder"] = "str"


def other_type(now: Stored) -> None:
    now["record"]["fields"]["RunRecord.seed"] = "str"


def setting_gone(now: Stored) -> None:
    del now["settings"]["fields"]["HSDS.damping"]


@pytest.mark.parametrize("change", [renamed, added_below, other_type, setting_gone])
def test_a_change_without_a_new_number_is_a_fault(change: Callable[[Stored], None]) -> None:
    before = formats.today()
    now = copy.deepcopy(before)
    assert formats.faults(before, now) == []
    change(now)
    assert len(formats.faults(before, now)) == 1
    for one in now.values():
        if "format" in one:
            one["format"] += 1
    assert len(formats.faults(before, now)) == (change is setting_gone)


def test_a_new_setting_of_an_editor_is_none() -> None:
    before = formats.today()
    now = copy.deepcopy(before)
    now["settings"]["fields"]["HSDS.more"] = "int"
    assert formats.faults(before, now) == []


def test_every_stored_class_is_looked_at() -> None:
    """Also classes inside of others, through optional and repeated fields."""
    now = formats.today()
    names = {field for one in now.values() for field in one["fields"]}
    assert {"ImageRecord.mask", "DirectionRecord.given", "Recipe.via", "KeptImage.fingerprint"} <= names
    assert {"EffectCalibration.arm", "Failure.why", "Report.format", "Guard.harmed", "SDEdit.guidance"} <= names
