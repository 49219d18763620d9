"""Every method of the benchmark, with the dozen settings that are tried of each on the calibration split.

No method is given more tries than another. What is tried lies around the published settings and around what worked in
short probes on calibration portraits; where the best of a first dozen lay at its edge, the dozen was moved there once.
"""

import itertools
from collections.abc import Sequence
from typing import Any

from latentedit.core.errors import RegistryError, nearest
from latentedit_bench.tuning.contender import BUDGET, Contender, Settings

OURS = "eim"
"""The method that is compared with the baselines: what `latentedit edit` does."""


def grid(fixed: Settings | None = None, **choices: Sequence[Any]) -> tuple[Settings, ...]:
    """Every combination of some choices, with what is fixed."""
    names = list(choices)
    return tuple(
        dict(fixed or {}) | dict(zip(names, values, strict=True)) for values in itertools.product(*choices.values())
    )


def contender(name: str) -> Contender:
    """By its name.

    Raises:
        RegistryError: an unknown name, with the nearest ones.
    """
    found = {one.name: one for one in CONTENDERS}
    if name not in found:
        raise RegistryError(f"expected the name of a method of the benchmark; got {name!r}: {nearest(name, found)}")
    return found[name]


_ANNEALED: Settings = {
    "levels": (0.99, 0.0),
    "shift": 2.5,
    "step_size": None,
    "noises": 2,
    "antithetic": True,
    "keep": 0.003,
    "release": 0.3,
}
"""The best search of those that were tried on the calibration split, by halving, before the methods were compared."""


def _image(**choices: Sequence[Any]) -> tuple[Settings, ...]:
    return tuple({"arm": "image", "search": search} for search in grid(_ANNEALED, **choices))


def _second_order(**choices: Sequence[Any]) -> tuple[Settings, ...]:
    """With one noise a step: products with the Hessian leave no room for more."""
    return _image(noises=(1,), antithetic=(False,), **choices)


_ONE_LOOK: Settings = {"steps": 1, "antithetic": True}

_LEVELS = grid(level=(0.7, 0.8, 0.9, 1.0), guidance=(1.0, 1.5, 2.0))

_FLOWEDIT = (
    *grid({"source_guidance": 1.0, "target_guidance": 1.0}, level=(0.9, 0.95, 0.98, 1.0), noises=(1, 2)),
    *grid({"source_guidance": 1.0, "target_guidance": 1.5}, level=(0.9, 1.0), noises=(1,)),
    *grid({"source_guidance": 1.5, "target_guidance": 2.5}, level=(0.9, 1.0), noises=(1,)),
)

CONTENDERS: tuple[Contender, ...] = (
    Contender(
        name="eim",
        editor="eim",
        local=True,
        candidates=_image(shift=(1.7, 2.5, 3.5), keep=(0.002, 0.004), release=(0.15, 0.3)),
    ),
    Contender(
        name="eim, not local",
        editor="eim",
        candidates=_image(shift=(1.7, 2.5, 3.5), keep=(0.002, 0.004), release=(0.15, 0.3)),
    ),
    Contender(
        name="eim joint",
        editor="eim",
        local=True,
        candidates=tuple(
            {"arm": "joint", "level": level, "search": {**_ONE_LOOK, "levels": (top, 0.3), "noises": noises}}
            for level in (0.5, 0.65, 0.75)
            for top in (0.9, 0.95)
            for noises in (2, 4)
        ),
    ),
    Contender(
        name="eim text",
        editor="eim",
        local=True,
        candidates=grid({"arm": "text"}, level=(0.75, 0.8, 0.84, 0.87, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 1.0)),
    ),
    Contender(
        name="eim gamma",
        editor="eim",
        local=True,
        candidates=_image(gamma=(-1.0, -0.5, 0.5, 1.0), shift=(1.7, 2.5, 3.5)),
    ),
    Contender(
        name="eim newton",
        editor="eim",
        local=True,
        candidates=_second_order(filter=("newton",), iterations=(1, 2), damping=(0.1, 0.3, 1.0), shift=(1.7, 2.5)),
    ),
    Contender(
        name="eim levenberg-marquardt",
        editor="eim",
        local=True,
        candidates=_second_order(
            filter=("levenberg-marquardt",), iterations=(1,), damping=(0.1, 0.3, 1.0, 3.0), shift=(1.3, 1.7, 2.5)
        ),
    ),
    Contender(
        name="eim mixed",
        editor="eim",
        local=True,
        candidates=tuple(
            {"arm": "image", "search": search}
            for search in grid(
                {"residual": "mixed"},
                levels=((0.95, 0.3), (0.8, 0.3)),
                step_size=(0.3, 0.6, 1.0),
                keep=(0.0, 0.003),
            )
        ),
    ),
    Contender(
        name="sdedit",
        editor="sdedit",
        candidates=grid(level=(0.3, 0.4, 0.5, 0.6, 0.7, 0.85), guidance=(1.0, 2.0)),
    ),
    Contender(name="inversion", editor="inversion", candidates=_LEVELS),
    Contender(name="aligned-inversion", editor="aligned-inversion", candidates=_LEVELS),
    Contender(name="flowedit", editor="flowedit", candidates=_FLOWEDIT),
    Contender(name="flowedit, local", editor="flowedit", local=True, candidates=_FLOWEDIT),
    Contender(
        name="flowslider",
        editor="flowslider",
        candidates=grid(level=(0.8, 0.85, 0.9, 0.95, 0.98, 1.0), noises=(1, 2)),
    ),
    Contender(
        name="flowalign",
        editor="flowalign",
        candidates=grid(level=(0.98, 1.0), guidance=(1.25, 1.5, 1.75), pull=(0.05, 0.1)),
    ),
    Contender(
        name="steering-fields",
        editor="steering-fields",
        candidates=tuple(
            {"level": level, "attract": attract, "repel": repel}
            for level in (0.95, 1.0)
            for attract, repel in ((0.25, 0.25), (0.5, 0.25), (0.5, 0.5), (0.25, 0.5), (0.5, 0.75), (1.0, 0.0))
        ),
    ),
    Contender(
        name="rf-solver",
        editor="rf-solver",
        candidates=grid(level=(0.6, 0.8, 0.9, 1.0), guidance=(1.0, 1.5, 2.0)),
    ),
    Contender(
        name="fireflow",
        editor="fireflow",
        candidates=grid(level=(0.6, 0.8, 0.9, 1.0), guidance=(1.0, 1.5, 2.0)),
    ),
    Contender(
        name="uni-edit",
        editor="uni-edit",
        candidates=grid(level=(0.8, 0.9, 1.0), weight=(0.1, 0.2, 0.3, 0.5)),
    ),
    Contender(
        name="dnaedit",
        editor="dnaedit",
        candidates=grid(level=(0.9, 1.0), eta=(0.6, 0.8, 1.0), guidance=(1.0, 1.5)),
    ),
    Contender(
        name="rf-inversion",
        editor="rf-inversion",
        candidates=grid({"gamma": 0.0}, level=(0.8, 1.0), eta=(0.1, 0.2, 0.3), stop=(0.6, 1.0)),
    ),
    Contender(
        name="edit-friendly-ddpm",
        editor="edit-friendly-ddpm",
        candidates=grid(level=(0.6, 0.7, 0.8, 0.9), target_guidance=(1.0, 1.5, 2.0)),
    ),
    Contender(
        name="turboedit",
        editor="turboedit",
        candidates=grid({"clip": None}, level=(0.95, 1.0), weight=(0.8, 1.0, 1.2), shift=(0, 1)),
    ),
    Contender(
        name="sega",
        editor="sega",
        candidates=grid({"reference": "source"}, level=(0.8, 0.9, 1.0), scale=(1.0, 1.5), threshold=(0.0, 0.25)),
    ),
    Contender(
        name="ledits",
        editor="ledits",
        candidates=grid({"reference": "source"}, level=(0.8, 0.9, 1.0), scale=(1.0, 1.5), threshold=(0.0, 0.25)),
    ),
    Contender(
        name="sds",
        editor="sds",
        candidates=grid(levels=((0.95, 0.05), (0.95, 0.5)), step_size=(0.1, 0.2, 0.4), guidance=(1.0, 2.0)),
    ),
    Contender(
        name="dds",
        editor="dds",
        candidates=grid(levels=((0.95, 0.3), (0.98, 0.5)), step_size=(0.25, 0.35, 0.5, 0.7, 1.0, 1.4), guidance=(1.0,)),
    ),
    Contender(
        name="diffedit",
        editor="diffedit",
        candidates=grid(
            {"maps": 4, "guidance": 1.0, "under": "source"},
            level=(0.85, 0.9, 1.0),
            ratio=(1.0, 1.5),
            mask_level=(0.5, 0.7),
        ),
    ),
    Contender(
        name="text-steering",
        editor="text-steering",
        candidates=grid(level=(0.6, 0.7, 0.8, 0.85, 0.9, 0.95), guidance=(1.0, 1.5)),
    ),
    Contender(
        name="asyrp",
        editor="asyrp",
        candidates=grid(site=(None, "clean"), scale=(0.3, 0.6, 1.0), until=(0.0, 0.3)),
    ),
    Contender(
        name="pullback",
        editor="pullback",
        budget=2 * BUDGET,
        candidates=grid({"rank": 3, "iterations": 2}, level=(0.5, 0.6, 0.7, 0.85), scale=(1.0, 3.0, 6.0)),
    ),
    Contender(
        name="loco",
        editor="loco",
        candidates=grid({"iterations": 1, "maps": 2}, rank=(0, 1), level=(0.6, 0.7), scale=(2.0, 3.0, 6.0)),
    ),
)
"""Every method of the benchmark. Those that are not ours and yet local are controls: is it our locality alone?"""
