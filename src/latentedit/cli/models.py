"""``latentedit models``: the bundled models. What is heavy is imported when a command runs."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentedit.cli import options
from latentedit.cli.console import print_json, print_rows, progress_bar, say, warn
from latentedit.core.errors import ConfigError, RegistryError, nearest
from latentedit.core.files.writing import check_place, make_folder
from latentedit.core.plugins import CHECKS, MODELS, RECIPES

if TYPE_CHECKING:
    from latentedit.latents.guard import Guard

app = typer.Typer(
    help="""The bundled models: what they are, whether they are whole, how they are made.

    Examples:
        latentedit models list
        latentedit models families
    """,
    no_args_is_help=True,
)

Name = Annotated[
    str, typer.Argument(help="The model's name, or a folder.", show_default=False, autocompletion=MODELS.complete)
]


_MOST_CAPTION_BYTES = 2**20
"""Of a file of captions."""


@app.command("list")
def list_models(as_json: options.Json = False) -> None:
    """The bundled models: name, size and what each is.

    Examples:
        latentedit models list
        latentedit models list --json
    """
    rows: list[dict[str, Any]] = [
        {"name": name, "size_bytes": _size_bytes(folder), "what": str(_settings(folder).get("description", ""))}
        for name, folder in bundled().items()
    ]
    if as_json:
        print_json({"models": rows})
        return
    for row in rows:
        say(f"{row['name']:<16}{row['size_bytes'] / 1e6:>6.1f} MB  {row['what']}")
    if not rows:
        say("no bundled models. Run: pip install latentedit-portraits")


@app.command("families")
def list_families(as_json: options.Json = False) -> None:
    """Families of models that can be edited with: their pipelines, guidance, text, and what was tested.

    Examples:
        latentedit models families
        latentedit models families --json
    """
    from latentedit.models.families import UNTRIED, families

    found = families()
    if as_json:
        print_json({"families": found, "note": UNTRIED})
        return
    for one in found:
        say(f"{one.name}: {', '.join(one.pipelines)}")
        sides = f"multiples of {one.multiple_px} px" if one.multiple_px else "each model's own"
        print_rows([("weights", one.licence), ("adapter", f"{one.module}, {one.lines} lines"), ("sides", sides)])
        for member in one.members:
            guidance = f"guidance {member.guidance_kind} {member.guidance:g}"
            say(f"  {member.name:<16}{guidance}; tested: {', '.join(member.tested)}")
    say()
    say(UNTRIED)


@app.command()
def show(name: Name, as_json: options.Json = False) -> None:
    """A model's facts: what it is, how good it was measured to be, its files.

    Examples:
        latentedit models show portraits
        latentedit models show portraits --json
        latentedit models show models/my-model/
    """
    folder = folder_of(name)
    settings, size = _settings(folder), _size_bytes(folder)
    files = [(str(file.relative_to(folder)), file.stat().st_size) for file in _files(folder)]
    if as_json:
        sizes = [{"file": file, "size_bytes": size} for file, size in files]
        print_json({"name": name, "folder": folder, "size_bytes": size, "files": sizes, **settings})
        return
    say(f"{name}: {settings.get('description', 'no description')}")
    quality = settings.get("quality", {})
    say()
    say("measured" if quality else "nothing measured is stored with this model")
    for label, value in _leaves(quality):
        say(f"  {label:<68}{value:.4g}" if isinstance(value, float) else f"  {label:<68}{value}")
    say()
    guard = _guard(folder, settings)
    say(f"guard: {f'none. Run: latentedit models calibrate {name}' if guard is None else guard.text}")
    say()
    say(f"files, {size / 1e6:.1f} MB in {folder}")
    for file, file_size in files:
        say(f"  {file:<56}{file_size / 1e6:>9.3f} MB")


@app.command()
def path(name: Name) -> None:
    """Print the folder, for other programs: a stock diffusers folder.

    Examples:
        latentedit models path portraits
        latentedit models path portraits-unet
    """
    say(folder_of(name))


@app.command()
def verify(name: Name, as_json: options.Json = False, quiet: options.Quiet = False) -> None:
    """Check a model's files and fingerprint, and a sampled picture against the one stored with it.

    Examples:
        latentedit models verify portraits
        latentedit models verify portraits --quiet
    """
    folder = folder_of(name)
    lines = verification(folder)
    if as_json:
        print_json({"name": name, "folder": folder, "verified": True, "report": lines})
    elif not quiet:
        say(f"{name}: verified")
        for line in lines:
            say(f"  {line}")


@app.command()
def train(
    name: Annotated[str, typer.Argument(help="The model's name.", autocompletion=RECIPES.complete)],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Where model and checkpoints go, out/training/NAME if not given; goes on there."),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option("--recipe", help="cpu (hours) or gpu (minutes).", autocompletion=options.completed("cpu", "gpu")),
    ] = "cpu",
    device: options.Device = None,
    quiet: options.Quiet = False,
) -> None:
    """Train a bundled model from nothing; stop it and run it again to go on.

    Examples:
        latentedit models train pixels-discs
        latentedit models train portraits --recipe gpu --device cuda --out out/mine
    """
    if recipe not in ("cpu", "gpu"):
        raise RegistryError(f"--recipe is cpu or gpu; got {recipe!r}: {nearest(recipe, ('cpu', 'gpu'))}")
    make = RECIPES.load(name)
    place = out if out is not None else Path("out/training") / name
    with progress_bar(quiet=quiet) as progress:
        made = make(place, recipe, progress, device=device, log=(lambda _: None) if quiet else say)
    if not quiet:
        print_rows([("model", str(made))], indent=0)


@app.command()
def calibrate(
    name: Annotated[
        str,
        typer.Argument(
            help="A bundled model, a folder or a hub id.", show_default=False, autocompletion=MODELS.complete
        ),
    ],
    captions: Annotated[
        Path | None,
        typer.Option(
            "--captions", help="A text file, a caption a line, to draw from; else what suits the model's captioner."
        ),
    ] = None,
    in_folder: Annotated[
        bool,
        typer.Option("--in-folder", help="Store it in the model's folder, to be shared with it, and not for yourself."),
    ] = False,
    device: options.Device = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Let a model draw pictures, and learn from them which pictures it knows; stop it and run it again to go on.

    What is found is kept by the fingerprint of the model's weights, and used by every command from then on.

    Examples:
        latentedit models calibrate portraits
        latentedit models calibrate models/my-model/ --captions captions.txt
    """
    from latentedit.api.calibrate import Calibration, calibrate_guard, keep_guard
    from latentedit.core.settings import to_plain
    from latentedit.models.calibrations import calibration_file
    from latentedit.models.registry import load

    given = () if captions is None else _captions(captions)
    folder = folder_of(name) if in_folder else None
    model, how = load(name, device=device), Calibration()
    place = calibration_file(model.fingerprint)
    make_folder(place.parent)
    check_place(place)
    evaluations, seconds = how.evaluations(model), how.seconds(model)
    if not quiet and not as_json:
        say(f"{how.pictures} pictures, {evaluations} evaluations: about {math.ceil(seconds / 60)} min")
    with progress_bar(quiet=quiet or as_json) as progress:
        found = calibrate_guard(model, captions=given, how=how, progress=progress)
    place = keep_guard(model, found, folder=folder)
    if as_json:
        about = {"evaluations": evaluations, "estimated_seconds": seconds}
        print_json({"name": name, "file": place, **about, "guard": to_plain(found)})
    elif not quiet:
        say(f"{name}: {found.text}")
        say(f"kept in {place}")


def bundled() -> dict[str, Path]:
    """Name and folder of every bundled model; one that cannot be loaded is a warning."""
    from latentedit.models.registry import bundled_folder, bundled_names

    found: dict[str, Path] = {}
    for name in bundled_names():
        try:
            found[name] = bundled_folder(name)
        except RegistryError as error:
            warn([str(error)])
    return found


def folder_of(name: str) -> Path:
    """The folder of a bundled model, or ``name`` itself where it is a model folder.

    Raises:
        RegistryError: neither, with the nearest names.
    """
    from latentedit.models.registry import bundled_folder, bundled_names

    if name not in bundled_names() and (Path(name) / "model_index.json").is_file():
        return Path(name)
    return bundled_folder(name)


def verification(folder: Path) -> list[str]:
    """What the checks of a model folder found, a line each.

    Raises:
        ModelError: the first check that failed.
    """
    from latentedit.models.loading import open_folder

    parts = open_folder(folder).parts
    checked = [line for name in CHECKS.names() for line in CHECKS.load(name)(folder)]
    return [f"{len(parts)} parts, all there: {', '.join(sorted(parts))}", *checked]


def _settings(folder: Path) -> Mapping[str, Any]:
    """What the folder says about its model; nothing where it says nothing."""
    from latentedit.models.loading import SETTINGS_FILE
    from latentedit.models.settings_file import read_settings

    return read_settings(folder) if (folder / SETTINGS_FILE).is_file() else {}


def _guard(folder: Path, settings: Mapping[str, Any]) -> "Guard | None":
    """The guard of a model with these settings, its user's own or the one that came with it."""
    from latentedit.core.settings import from_plain
    from latentedit.latents.guard import KEY, Guard
    from latentedit.models.calibrations import known_calibration
    from latentedit.models.loading import open_folder

    fingerprint = settings.get("fingerprint") or open_folder(folder).fingerprint
    stored = known_calibration(fingerprint, settings).get(KEY)
    return None if stored is None else from_plain(Guard, stored)


def _captions(file: Path) -> list[str]:
    """The lines of a file that say something."""
    from latentedit.core.files.reading import read_text

    lines = [line.strip() for line in read_text(file, limit=_MOST_CAPTION_BYTES).splitlines() if line.strip()]
    if not lines:
        raise ConfigError(f"{file} has no captions. Write one a line")
    return lines


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _size_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in _files(folder))


def _leaves(value: Any, label: str = "") -> list[tuple[str, Any]]:
    """Nested facts as one list: the label of a number is the path to it."""
    if not isinstance(value, Mapping):
        return [(label, value)]
    items: Mapping[Any, Any] = value
    return [leaf for key, item in items.items() for leaf in _leaves(item, f"{label}, {key}" if label else str(key))]
