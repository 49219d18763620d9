import numpy as np
import pytest

from latentedit.core.errors import ConfigError
from latentedit.models.registry import bundled_names
from latentedit_bench.analysis.pictures import sample_pictures


@pytest.mark.parametrize("name", bundled_names())
def test_every_bundled_model_has_pictures_of_its_size(name: str) -> None:
    pictures = sample_pictures(name, 3)
    side = 64 if name.startswith("pixels") else 128
    assert [picture.size for picture in pictures] == [(side, side)] * 3
    assert len({picture.tobytes() for picture in pictures}) == 3
    longer = sample_pictures(name, 4)
    assert np.array_equal(longer[2], pictures[2]), "a longer draw begins with the shorter one"


def test_other_models_need_pictures_of_their_own() -> None:
    with pytest.raises(ConfigError, match="Name some pictures"):
        sample_pictures("elsewhere", 2)
