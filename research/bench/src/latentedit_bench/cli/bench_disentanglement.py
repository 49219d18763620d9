"""``latentedit bench disentanglement``: editors of any model, scored without right answers."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentedit import cli
from latentedit.cli import ModelChoice, chooses_model, parse_settings
from latentedit.core import echo, print_json, print_rows, progress_bar, typed_command
from latentedit_bench.cli.bench_options import goes_to

if TYPE_CHECKING:
    from latentedit_bench.disentanglement.scoring import Disentanglement


@chooses_model
def disentanglement(
    *,
    attributes: Annotated[
        Path,
        typer.Option(
            "--attributes",
            help="A caption with slots, the values of each, and optionally images: a YAML or JSON file.",
            show_default=False,
        ),
    ],
    method: Annotated[
        list[str] | None,
        typer.Option("--method", help="An editor, with the settings stored for the model. Repeatable. Default: eim."),
    ] = None,
    settings: cli.Settings = None,
    items: Annotated[
        int | None,
        typer.Option("--items", min=1, help="Images. Default: all of the file, or 8 that the model draws."),
    ] = None,
    output: Annotated[Path | None, goes_to("Also write all numbers here, as JSON.")] = None,
    choice: ModelChoice,
    seed: cli.Seed = 0,
    as_json: cli.Json = False,
    quiet: cli.Quiet = False,
) -> None:
    """Score how well a model's edits change one attribute alone, without right answers.

    Each attribute of each image is edited, and the change is compared with the model's own responses to all attributes.
    The definition is ours; the paper's formula was not at hand. `reproduce disentanglement-without-truth` compares it
    with right answers.

    Examples:
        latentedit bench disentanglement --model scenes --attributes rooms.yaml
        latentedit bench disentanglement --attributes faces.yaml --set arm=text
        latentedit bench disentanglement --attributes faces.yaml --method flowedit
    """
    from latentedit.core import EDITORS, check_place, plain, write_text

    given, names = parse_settings(settings), list(dict.fromkeys(method or ["eim"]))
    for name in names:
        if name not in EDITORS.points():
            raise EDITORS.unknown(name)
    if output is not None:
        check_place(output)
    from latentedit.editors import editor_class, make_editor
    from latentedit_bench.disentanglement.attributes import make_swaps, read_attributes
    from latentedit_bench.disentanglement.scoring import score_methods

    content = read_attributes(attributes)
    for name in names:  # before a model is loaded
        kind = editor_class(name)
        kind.from_dict(kind.renamed(given, {}))
    model = choice.load()
    editors = {name: make_editor(name, model, settings=given) for name in names}
    swaps = make_swaps(content, model, items=items, seed=seed)
    with progress_bar(quiet=quiet or as_json) as progress:
        found = score_methods(model, swaps, editors, seed=seed, progress=progress)
    about = {"model": model.name, "fingerprint": model.fingerprint, "images": len(swaps.images), "seed": seed}
    about |= {"command": typed_command(), "methods": found}
    if output is not None:
        write_text(output, f"{json.dumps(plain(about), indent=1, ensure_ascii=False)}\n")
    if as_json:
        print_json(about)
    elif not quiet:
        echo(f"{model.name}, {len(swaps.images)} images, attributes {', '.join(swaps.targets)}; no right answers")
        for one in found:
            _print(one)


def _print(found: "Disentanglement") -> None:
    """The scores, and the transfer matrix with a line for each edited attribute."""
    echo(found.method)
    width = max(9, *map(len, found.transfer)) + 2
    rows = [(name, one.text) for name, one in found.scores.items()]
    rows.append(("edited", "".join(f"{name:>{width}}" for name in found.transfer)))
    rows += [(own, "".join(f"{value:{width}.2f}" for value in row.values())) for own, row in found.transfer.items()]
    print_rows(rows)
