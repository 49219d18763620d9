import math

import pytest
import torch

from latentedit.core.errors import ConfigError
from latentedit.editors.base import StrengthResult, check_strength


@pytest.mark.parametrize("strength", [math.nan, math.inf, -math.inf])
def test_a_strength_that_is_no_number_is_refused(strength: float) -> None:
    with pytest.raises(ConfigError, match="finite number") as found:
        check_strength(strength)
    assert "\n" not in str(found.value)


def test_pictures_that_moved_need_no_notes() -> None:
    assert StrengthResult(z=torch.zeros(2, 3), strength=0.5).notes == ()
