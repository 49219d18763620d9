"""``latentedit models``: the bundled models. What is heavy is imported when a command runs."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from latentedit.cli import options
from latentedit.core.errors import ConfigError, RegistryError, to_install
from latentedit.core.plugins import MODELS
from latentedit_keep.console import print_json, print_rows, progress_bar, say, warn
from latentedit_keep.files import check_place, make_folder

app = typer.Typer(
    help="""The bundled models: what they are, and whether they are whole.

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
        say(f"no bundled model is installed. {to_install('latentedit-portraits')}")


@app.command("families")
def list_families(as_json: options.Json = False) -> None:
    """Supported families of models: their pipelines, image sizes and licences.

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
        print_rows([("weights", one.licence), ("adapter", one.module), ("sides", sides)])
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
        about = {"name": name, "folder": folder, "size_bytes": size, "files": sizes}
        print_json({**about, **settings, "calibration": _known(folder, settings)})
        return
    say(f"{name}: {settings.get('description', 'no description')}")
    quality = settings.get("quality", {})
    say()
    say("measured" if quality else "nothing measured is stored with this model")
    for label, value in _leaves(quality):
        say(f"  {label:<68}{value:.4g}" if isinstance(value, float) else f"  {label:<68}{value}")
    say()
    known = _known(folder, settings)
    for part, text in _calibrated(known).items():
        say(f"{part}: {text or f'none. Run: latentedit models calibrate {name}'}")
    if "settings" in known and not _in_use(known, settings):
        say(_UNUSED)
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
    pictures: Annotated[
        Path | None,
        typer.Option(
            "--pictures", help="A folder of your own pictures, to find settings on them and not on drawn ones."
        ),
    ] = None,
    prefer: Annotated[
        bool, typer.Option("--prefer", help="Use the settings that are found also where the model brings its own.")
    ] = False,
    in_folder: Annotated[
        bool,
        typer.Option("--in-folder", help="Store it in the model's folder, to be shared with it, and not for yourself."),
    ] = False,
    device: options.Device = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Let a model find out, without right answers, which pictures it knows and which settings suit it.

    It draws pictures and edits them. What is found is kept by the fingerprint of the
    model's weights, in one small file, and used by every command from then on.

    Examples:
        latentedit models calibrate portraits
        latentedit models calibrate models/my-model/ --captions captions.txt
    """
    from latentedit.api.calibrate import Calibration, calibrate_guard, calibrate_no_change, keep_calibration
    from latentedit.api.runs.jobs import pictures_in
    from latentedit.api.settings_search import Search, calibrate_settings
    from latentedit.core.settings import to_plain
    from latentedit.models.calibrations import calibration_file
    from latentedit.models.registry import load

    given, shown = () if captions is None else _captions(captions), () if pictures is None else pictures_in(pictures)
    folder = folder_of(name) if in_folder else None
    model, guarding, how = load(name, device=device), Calibration(), Search()
    place = calibration_file(model.fingerprint)
    make_folder(place.parent)
    check_place(place)
    if shown:
        how = dataclasses.replace(how, pictures=len(shown))
    with progress_bar(quiet=quiet or as_json) as progress:
        guard = calibrate_guard(model, captions=given, how=guarding, progress=progress)
        found = calibrate_settings(model, captions=given, pictures=shown, how=how, progress=progress)
    found = dataclasses.replace(found, preferred=prefer)
    nothing = calibrate_no_change(model, captions=given, how=guarding)
    place = keep_calibration(model, guard=guard, settings=found, no_change=nothing, folder=folder)
    if as_json:
        parts = {"no_change": nothing, "guard": to_plain(guard), "settings": to_plain(found)}
        print_json({"name": name, "file": place, **parts})
    elif not quiet:
        say(f"guard: {guard.text}")
        say(f"settings: {found.text}")
        if nothing is not None:
            said = (f"{wording!r} {residual:.3g}" for wording, residual in nothing.items())
            say(f"no change, as its mean square error: {', '.join(said)}")
        if not prefer and not _in_use({}, model.defaults):
            say(_UNUSED)
        say(f"kept in {place}")


_UNUSED = "not used: the model brings settings of its own; --prefer uses these"


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
    from latentedit.latents.drawing import verify as verify_reference
    from latentedit.models.loading import open_folder

    parts = open_folder(folder).parts
    return [f"{len(parts)} parts, all there: {', '.join(sorted(parts))}", *verify_reference(folder)]


def _settings(folder: Path) -> Mapping[str, Any]:
    """What the folder says about its model; nothing where it says nothing."""
    from latentedit.models.loading import SETTINGS_FILE
    from latentedit.models.settings_file import read_settings

    return read_settings(folder) if (folder / SETTINGS_FILE).is_file() else {}


def _fingerprint(folder: Path, settings: Mapping[str, Any]) -> str:
    from latentedit.models.loading import open_folder

    return settings.get("fingerprint") or open_folder(folder).fingerprint


def _known(folder: Path, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The calibration of a model: its user's own, or the one that came with it."""
    from latentedit.models.calibrations import known_calibration

    return known_calibration(_fingerprint(folder, settings), settings)


def _calibrated(known: Mapping[str, Any]) -> dict[str, str | None]:
    """What each part of a calibration says; None of one that it does not have.

    Raises:
        ConfigError: values that are none of a calibration.
    """
    from latentedit.core.settings import from_plain
    from latentedit.editors.calibrated import CalibratedSettings
    from latentedit.latents.guard import KEY, Guard
    from latentedit.models.calibrations import SETTINGS

    parts = {KEY: Guard, SETTINGS: CalibratedSettings}
    return {name: from_plain(kind, known[name]).text if name in known else None for name, kind in parts.items()}


def _in_use(known: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether the settings of a calibration come before what the model's maker tuned."""
    return "eim" not in settings.get("editors", {}) or known.get("settings", {}).get("preferred", False)


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
