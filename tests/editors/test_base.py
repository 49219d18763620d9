import math

import pytest
import torch

from latentedit.core.errors import ConfigError
from latentedit.editors.base import StrengthResult, check_strength
from latentedit.editors.baselines.flowedit import FlowEdit


@pytest.mark.parametrize("strength", [math.nan, math.inf, -math.inf])
def test_a_strength_that_is_no_number_is_refused(strength: float) -> None:
    with pytest.raises(ConfigError, match="finite number") as found:
        check_strength(strength)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("strength", [-2.0, 0.0, 0.7])
def test_any_finite_strength_passes(strength: float) -> None:
    check_strength(strength)


def test_settings_go_to_plain_values_and_back() -> None:
    editor = FlowEdit(level=0.8, noises=2)
    assert FlowEdit.from_dict(editor.to_dict()) == editor
    with pytest.raises(ConfigError, match="did you mean 'level'"):
        FlowEdit.from_dict({"levle": 0.5})


def test_pictures_that_moved_need_no_notes() -> None:
    unknown = torch.full((2,), torch.nan)
    assert StrengthResult(z=torch.zeros(2, 3), strength=0.5, measured=unknown, limit=unknown).notes == ()
