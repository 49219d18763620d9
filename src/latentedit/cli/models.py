"""``latentedit models``: bundled models. Heavy imports are inside the commands."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from latentedit.cli import options
from latentedit.core.console import echo, print_json, print_rows, progress_bar, warn
from latentedit.core.errors import ConfigError, RegistryError, to_install
from latentedit.core.files import check_place, make_folder
from latentedit.core.plugins import MODELS

app = typer.Typer(
    help="""Bundled models: list, show, verify and calibrate.

    Examples:
        latentedit models list
        latentedit models families
    """,
    no_args_is_help=True,
)


def _named(text: str) -> Any:
    return typer.Argument(help=text, show_default=False, autocompletion=MODELS.complete)


Name = Annotated[str, _named("A bundled model or a folder.")]
AnyName = Annotated[str, _named("A bundled model, a folder or a hub id.")]
_CAPTIONS = "A text file with one caption per line. Default: captions that suit the model's captioner."
Captions = Annotated[Path | None, typer.Option("--captions", help=_CAPTIONS)]
_IMAGES = "A folder of images to edit for the verdict. Default: images sampled from the model."
_IN_FOLDER = "Store the calibration in the model's folder, for sharing, instead of your user folder."


@app.command("list")
def list_models(as_json: options.Json = False) -> None:
    """List the bundled models with size and description.

    Examples:
        latentedit models list
        latentedit models list --json
    """
    from latentedit.models.model_settings import read_settings

    rows: list[dict[str, Any]] = [
        {"name": name, "size_bytes": sum(_sizes(folder).values()), "what": read_settings(folder).get("description", "")}
        for name, folder in bundled().items()
    ]
    if as_json:
        print_json({"models": rows})
        return
    for row in rows:
        echo(f"{row['name']:<16}{row['size_bytes'] / 1e6:>6.1f} MB  {row['what']}")
    if not rows:
        echo(f"no bundled model is installed. {to_install('latentedit-portraits')}")


@app.command("families")
def list_families(as_json: options.Json = False) -> None:
    """List the supported model families: networks, image sizes and licenses.

    Examples:
        latentedit models families
        latentedit models families --json
    """
    from latentedit.models.families import UNTRIED, families

    supported = families()
    if as_json:
        print_json({"families": supported, "note": UNTRIED})
        return
    for family in supported:
        echo(f"{family.name}: {', '.join(family.networks)}")
        sides = f"multiples of {family.multiple_px} px" if family.multiple_px else "each model's own"
        print_rows([("weights", family.license), ("adapter", ", ".join(family.adapters)), ("sides", sides)])
    echo()
    echo(UNTRIED)


@app.command()
def show(name: Name, as_json: options.Json = False) -> None:
    """Show a model: description, measured quality, calibration, files.

    Examples:
        latentedit models show portraits
        latentedit models show portraits --json
        latentedit models show models/my-model/
    """
    from latentedit.calibration.guard import CalibratedSettings
    from latentedit.core.setting import from_plain
    from latentedit.encoding.familiarity import Guard
    from latentedit.models.model_settings import GUARD, SETTINGS, read_calibration, read_settings
    from latentedit.models.registry import load

    folder = folder_of(name)
    settings, files = read_settings(folder), _sizes(folder)
    size = sum(files.values())
    fingerprint = settings.get("fingerprint") or load(folder, device="cpu").fingerprint
    calibration = read_calibration(fingerprint, settings)
    if as_json:
        listed = [{"file": file, "size_bytes": size} for file, size in files.items()]
        about = {"name": name, "folder": folder, "size_bytes": size, "files": listed}
        print_json({**about, **settings, "calibration": calibration})
        return
    echo(f"{name}: {settings.get('description', 'no description')}")
    quality = settings.get("quality", {})
    echo()
    echo("measured quality" if quality else "no measurements are stored with this model")
    for label, value in _leaves(quality):
        echo(f"  {label:<68}{value:.4g}" if isinstance(value, float) else f"  {label:<68}{value}")
    echo()
    for part, kind in {GUARD: Guard, SETTINGS: CalibratedSettings}.items():
        text = from_plain(kind, calibration[part]).text if part in calibration else None
        echo(f"{part}: {text or f'none. Run: latentedit models calibrate {name}'}")
    if SETTINGS in calibration and not _in_use(calibration, settings):
        echo(_UNUSED)
    echo()
    echo(f"files, {size / 1e6:.1f} MB in {folder}")
    for file, file_size in files.items():
        echo(f"  {file:<56}{file_size / 1e6:>9.3f} MB")


@app.command()
def path(name: Name) -> None:
    """Print the model's folder, which is in the format of diffusers.

    Examples:
        latentedit models path portraits
        latentedit models path portraits-unet
    """
    echo(folder_of(name))


@app.command()
def verify(name: Name, as_json: options.Json = False, quiet: options.Quiet = False) -> None:
    """Check a model's files and fingerprint, and compare a sampled image with the stored one.

    Examples:
        latentedit models verify portraits
        latentedit models verify portraits --quiet
    """
    folder = folder_of(name)
    lines = verification(folder)
    if as_json:
        print_json({"name": name, "folder": folder, "verified": True, "report": lines})
    elif not quiet:
        echo(f"{name}: verified")
        for line in lines:
            echo(f"  {line}")


@app.command()
def calibrate(
    name: AnyName,
    captions: Captions = None,
    images: Annotated[Path | None, typer.Option("--images", help=_IMAGES)] = None,
    prefer: Annotated[
        bool, typer.Option("--prefer", help="Prefer these settings to those that come with the model.")
    ] = False,
    in_folder: Annotated[bool, typer.Option("--in-folder", help=_IN_FOLDER)] = False,
    device: options.Device = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Calibrate a model: which images are in its distribution, and from where on an edit is done or damaged.

    The model samples images and edits them; no ground truth is needed. The calibration is stored in a small file under
    the fingerprint of the model's weights, and every command uses it.

    Examples:
        latentedit models calibrate portraits
        latentedit models calibrate models/my-model/ --captions captions.txt
    """
    from latentedit.batch.edits import images_in
    from latentedit.calibration.calibration import calibrate as calibrate_model
    from latentedit.models.model_settings import calibration_file
    from latentedit.models.registry import load

    given = _read_captions(captions)
    shown = () if images is None else images_in(images)
    folder = folder_of(name) if in_folder else None
    model = load(name, device=device)
    file = calibration_file(model.fingerprint)
    make_folder(file.parent)
    check_place(file)
    with progress_bar(quiet=quiet or as_json) as progress:
        calibration = calibrate_model(model, captions=given, images=shown, preferred=prefer, progress=progress)
    file = calibration.save(folder)
    if as_json:
        print_json({"name": name, "file": file, "no_change": None, **calibration.parts})
    elif not quiet:
        if calibration.guard is not None:
            echo(f"guard: {calibration.guard.text}")
        if calibration.settings is not None:
            echo(f"settings: {calibration.settings.text}")
        if calibration.no_change is not None:
            errors = [f"{wording!r} {residual:.3g}" for wording, residual in calibration.no_change.items()]
            echo(f"mean square error of edits that change nothing: {', '.join(errors)}")
        if not prefer and not _in_use({}, model.defaults):
            echo(_UNUSED)
        echo(f"saved to {file}")


_UNUSED = "not used: the model comes with its own settings; use --prefer to prefer these"


def bundled() -> dict[str, Path]:
    """Names and folders of the bundled models; warns of entry points that fail."""
    from latentedit.models.registry import bundled_folder, bundled_names

    folders: dict[str, Path] = {}
    for name in bundled_names():
        try:
            folders[name] = bundled_folder(name)
        except RegistryError as error:
            warn([str(error)])
    return folders


def folder_of(name: str) -> Path:
    """The folder of a bundled model, or ``name`` itself if it is a model folder."""
    from latentedit.models.registry import bundled_folder, bundled_names

    if name not in bundled_names() and (Path(name) / "model_index.json").is_file():
        return Path(name)
    return bundled_folder(name)


def verification(folder: Path) -> list[str]:
    """Findings of the checks of a model folder, one line each; a check that fails is a `ModelError`."""
    from latentedit.calibration.drawing import verify_drawings as verify_reference
    from latentedit.models.loading import open_folder

    parts = open_folder(folder).parts
    return [f"complete: {', '.join(sorted(parts))}", *verify_reference(folder)]


def _read_captions(file: Path | None) -> list[str]:
    """The captions of a file, one per line; none without a file."""
    from latentedit.core.files import read_text

    texts = "" if file is None else read_text(file, limit=2**20)
    found = [line.strip() for line in texts.splitlines() if line.strip()]
    if file is not None and not found:
        raise ConfigError(f"{file} contains no captions. Write one per line")
    return found


def _in_use(calibration: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether calibrated settings take precedence over those that come with the model."""
    from latentedit.models.model_settings import ModelSettings

    return ModelSettings(maker=settings, calibration=calibration, published={}).uses_calibration


def _sizes(folder: Path) -> dict[str, int]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.stat().st_size for file in files}


def _leaves(value: Any, label: str = "") -> list[tuple[str, Any]]:
    """Nested values as one list, each labeled with its path."""
    if not isinstance(value, Mapping):
        return [(label, value)]
    items: Mapping[Any, Any] = value
    return [leaf for key, item in items.items() for leaf in _leaves(item, f"{label}, {key}" if label else str(key))]
