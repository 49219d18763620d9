"""What an editor refuses, and what it says that it costs: one row a case, for every editor whose file has a formula."""

from typing import Any

import pytest

from latentedit.core.errors import ConfigError
from latentedit.editors.registry import editor_class

NAN = float("nan")
WALK = {"level": (0.0, 1.2, NAN), "steps": (0, "3", True)}
GUIDED = {**WALK, "guidance": (1e3, NAN)}
BRANCHES = {"source_guidance": (NAN, -101.0), "target_guidance": (101.0,)}
DESCENT = {
    "levels": ((0.0, 0.0), (1.2, 0.5), (0.4, 0.5), (0.4,)),
    "steps": (0,),
    "step_size": (0.0, -1.0),
    "guidance": (1e3,),
}
REFUSED: dict[str, dict[str, tuple[Any, ...]]] = {
    "aligned-inversion": GUIDED,
    "asyrp": {**WALK, "scale": (0.0,), "until": (1.5,)},
    "dds": DESCENT,
    "diffedit": {**GUIDED, "under": ("target",), "mask_level": (1.2,), "maps": (0,), "ratio": (0.0,)},
    "dnaedit": {**GUIDED, "eta": (0.0, 1.1)},
    "edit-friendly-ddpm": {**WALK, **BRANCHES},
    "fireflow": GUIDED,
    "flowalign": {**GUIDED, "pull": (-0.1, 1.5)},
    "flowedit": {**WALK, **BRANCHES, "noises": (0, 2.5)},
    "flowslider": {**WALK, "noises": (0,)},
    "inversion": GUIDED,
    "ledits": {**WALK, "scale": (-101.0,), "threshold": (-0.5,), "reference": ("target",)},
    "loco": {**WALK, "scale": (0.0,), "rank": (-1,), "iterations": (0,), "maps": (0,), "ratio": (0.0,)},
    "pullback": {**WALK, "rank": (0,), "iterations": (0,), "scale": (0.0,), "repeats": (0,), "probe": (0.0,)},
    "rf-inversion": {**GUIDED, "gamma": (1.1,), "eta": (-0.1,), "start": (2.0, 0.5), "stop": (1.5,)},
    "rf-solver": GUIDED,
    "sdedit": GUIDED,
    "sds": DESCENT,
    "sega": {
        **WALK,
        "scale": (101.0,),
        "threshold": (1.5,),
        "warm_up": (-0.1,),
        "cool_down": (1.5, 0.1),
        "momentum": (-1.0,),
        "decay": (1.5,),
        "reference": ("target",),
    },
    "steering-fields": {**WALK, "attract": (0.0,), "repel": (-1.0,)},
    "text-steering": GUIDED,
    "turboedit": {**WALK, "weight": (101.0,), "shift": (-1,), "clip": (-0.1,)},
    "uni-edit": {**WALK, "weight": (-1.0,)},
}


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [(name, key, value) for name, row in REFUSED.items() for key, values in row.items() for value in values],
)
def test_settings_that_make_no_sense_are_refused_by_name(name: str, setting: str, value: object) -> None:
    with pytest.raises(ConfigError, match=setting):
        editor_class(name).from_dict({setting: value})
