"""Writes docs/models.md from the tests of the families.

python -m tests.models.families.table
"""

import importlib
import inspect
from pathlib import Path
from typing import Any

import latentedit as le
from latentedit.core.plugins import BACKBONES
from latentedit.models.families import UNTRIED, Family, families
from tests.models.families.family import SETTINGS, FamilyContract

PAGE = Path(__file__).parents[3] / "docs" / "models.md"

READER = "For users with a model of their own: which diffusers pipelines work, what each needs, and its license."

FLOW_MAPS = (
    "Klein, the distilled FLUX.3, is a flow map: samplers, inversions and editors that walk a path step with it, and "
    "records say so (`stepped`); everything else reads its velocity, the map at equal levels. How accurate that "
    "velocity is, and a step towards noise, is unknown until tested with real weights."
)

CHECKS = {  # labels on the page, and the tests behind them
    "parity": "test_sampling_equals_the_stock_pipeline",
    "images": "test_images_equal_the_stock_pipelines",
    "codec": "test_encoding_is_the_inverse_normalization",
    "folder": "test_a_folder_gives_the_same_model",
    "edits": "test_edits_and_local_basis",
    "derivatives": "test_jvp_agrees_with_differences",
}

CHANGED = "test_a_changed_pipeline_edits_as_it_is"


def contracts() -> list[type[FamilyContract]]:
    """The test classes of all families."""
    found: list[type[FamilyContract]] = []
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"tests.models.families.{file.stem}")
        found += [
            one
            for name, one in vars(module).items()
            if name.startswith("Test") and inspect.isclass(one) and issubclass(one, FamilyContract)
        ]
    return found


def tested(contract: type[FamilyContract]) -> list[str]:
    """Labels of the page for what a class tests."""
    known = [label for label, test in CHECKS.items() if getattr(contract, test, None) is not None]
    marks = getattr(getattr(contract, CHANGED, None), "pytestmark", ())
    return [*known, *(variant for mark in marks if mark.name == "parametrize" for variant in mark.args[1])]


def measured() -> dict[str, Any]:
    """Properties of the miniatures, by the registered class of their adapter."""
    table: dict[str, Any] = {}
    for contract in contracts():
        pipeline = contract().build()
        model: Any = le.from_pipeline(pipeline, settings=SETTINGS)
        kind = type(model)
        point = BACKBONES.points()[type(pipeline.components[kind.denoiser]).__name__]
        family = table.setdefault(
            f"{point.module}.{point.attr}",
            {"half": str(kind.half).removeprefix("torch."), "published": [], "tested": []},
        )
        family["published"] = sorted({*family["published"], *kind.published})
        family["tested"].append(tested(contract))
    return dict(sorted(table.items()))


def page(found: list[Family], measured: dict[str, Any]) -> str:
    """The page, in Markdown."""
    lines = [
        "# Families of models",
        "",
        f"{READER} {UNTRIED}",
        "",
        FLOW_MAPS,
        "",
    ]
    lines += ["| family | networks | sides | half precision | published settings | license of the weights |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    nothing: dict[str, Any] = {"half": "", "published": [], "tested": []}
    for one in found:
        known = next((measured[name] for name in one.adapters if name in measured), nothing)
        sides = f"{one.multiple_px} px" if one.multiple_px else "each its own"
        published = ", ".join(known["published"])
        cells = (", ".join(one.networks), sides, known["half"], published, one.license)
        lines.append(f"| {one.name} | {' | '.join(cells)} |")
    members = [labels for family in measured.values() for labels in family["tested"]]
    everywhere = [label for label in CHECKS if all(label in labels for labels in members)]
    further = sorted({label for labels in members for label in labels} - {*everywhere})
    lines += ["", f"Each miniature is tested for: {', '.join(everywhere)}. Some are for more: {', '.join(further)}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(families(), measured()), encoding="utf-8")
