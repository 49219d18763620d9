"""Discovered directions: those of a local basis, applied in both signs, named by what they change, and calibrated.

Random directions are the control. A discovered direction can be transported to another image, where it is applied,
named and calibrated again. A discovery is written as a folder: directions, a sheet of them, and all measurements.
"""

import contextlib
import dataclasses
import json
import math
import re
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentedit.core.console import Progress, progress_bar
from latentedit.core.errors import ConfigError, FileFormatError, Hinted, OutputError, explaining
from latentedit.core.files import check_place, plain, read_json, user_path, write_text
from latentedit.core.setting import Count, check_value
from latentedit.editing.sheet import draw_grid
from latentedit.editors.eim import ROWS
from latentedit.editors.judge import Judge
from latentedit.editors.strength import EffectCurve, effect_along
from latentedit.encoding.captions.base import shortened, to_images
from latentedit.encoding.encode import captioner_for
from latentedit.encoding.images import preview_of
from latentedit.encoding.joint import JointLatent
from latentedit.encoding.kinds import takes_latent
from latentedit.encoding.record import ImageRecord, ModelRecord, versions
from latentedit.geometry.naming import Meaning, ProbabilityReader, meaning_of
from latentedit.geometry.pca import pca_directions
from latentedit.geometry.pullback import LocalBasis, basis_point, local_basis, random_units
from latentedit.geometry.transport import Carried, feature_of
from latentedit.geometry.transport import transport_direction as transport_unit
from latentedit.geometry.walks import TYPICAL_EFFECT, Walk, effect_of, step_lengths
from latentedit.identification.direction import Direction, EffectCalibration, clean_share
from latentedit.identification.locality import local_change
from latentedit.models.base import Backbone
from latentedit.models.derivatives import Pooling
from latentedit.numerics.cost import Cost, metered
from latentedit.numerics.device import plain_default
from latentedit.photo.saving import save_image

Method = Literal["pullback", "pca"]

SCALES = (-2.0, -1.0, 1.0, 2.0)  # multiples of a direction at which it is evaluated; 0 is the image
CONTROLS = 4  # random directions of each kind

SHEET, FACTS = "directions.png", "discovered.json"

_DECODED_ROWS = 16  # latents decoded at once
_PANEL_PX = 160  # width of an image on the sheet
_NAME_LETTERS = 40  # maximum, of a file name without its number


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DirectionProbe:
    """The effect of one direction at a noise level on an image, at every one of `SCALES`."""

    length: float  # norm of its displacement of the latent at the level, at scale 1
    effect: float  # change of the clean latent at scale 1 and -1; see `geometry.walks`
    meaning: Meaning
    z: Float[Tensor, "m *latent"]  # clean latents, one a scale
    images: Float[Tensor, "m 3 h w"] | None  # at the model's size in [-1, 1], one a scale; None of latents alone

    def __repr__(self) -> str:
        return f"<DirectionProbe {self.meaning.name!r}: effect {self.effect:.2g}>"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DiscoveredDirection:
    """A calibrated direction, whose strength 1 has the effect `geometry.walks.TYPICAL_EFFECT`, and its probe."""

    direction: Direction
    probe: DirectionProbe


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Discovery(Hinted):
    """The effects of a basis on its image, and those of random directions at the same level."""

    basis: LocalBasis  # without vectors where the directions are principal components
    directions: tuple[DiscoveredDirection, ...]  # one for each of the basis, or each component, in its order
    equal_length: tuple[DirectionProbe, ...]  # random directions, as long as the first ones of the basis
    equal_effect: tuple[DirectionProbe, ...]  # random directions, each as long as it takes for the same effect
    cost: Cost  # without the basis

    def __repr__(self) -> str:
        names = ", ".join(one.probe.meaning.name for one in self.directions)
        return f"<Discovery of {len(self.directions)} directions: {shortened(names, 60)}>"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TransportResult(Hinted):
    """A direction at the image to which it was transported."""

    basis: LocalBasis  # the latent of that image; the direction is made of its rows
    carried: Carried  # at unit length
    discovered: DiscoveredDirection


@takes_latent
@explaining
@torch.no_grad()
@plain_default()
def discover(
    latent: JointLatent,
    *,
    method: Method = "pullback",
    site: str | None = None,
    rank: int = 10,
    energy: float | None = None,
    level: float = 0.85,
    prompt: str | None = None,
    steps: int = 28,
    pooling: Pooling = "none",
    seed: int = 0,
    progress: Progress | bool | None = True,
) -> Discovery:
    """Find the directions of a local basis, apply each in both signs, and random ones; name what they change.

    Directions of latents without images have no preview, and the name of their place.

    Args:
        latent: from `encode`, of one image. With ``source_prompt=""``, anything may change.
        method: "pullback" takes the local basis; "pca" the principal components of the feature over noises at the
            image, pulled back to its latent (`geometry.pca`), as many as the ``rank``.
        site, rank, energy, level, prompt, steps, pooling, seed: as in `local_basis`; "pca" has no ``energy``.
        progress: as in `edit`.

    Example:
        latent = encode(model, "me.png", source_prompt="")
        discover(latent, rank=5).directions[0].direction.save("first.safetensors")

    Cost:
        That of the basis. For each of its directions, and for each of `CONTROLS` random ones of equal effect, two
        integrations in each of at most `walks.ROUNDS` rounds, and four more; four for each random one of equal length;
        and the judge's evaluations of the images along the basis.
    """
    check_value(Method, method=method)
    check_value(Count, rank=rank)
    settings: dict[str, Any] = {
        "site": site,
        "level": level,
        "prompt": prompt,
        "steps": steps,
        "pooling": pooling,
        "seed": seed,
    }
    with progress_bar(progress) as report:
        if method == "pca":
            point = basis_point(latent, progress=report, **settings)
            return discover_components(point, rank, progress=report)
        basis = local_basis(latent, rank=rank, energy=energy, progress=report, **settings)
        return discover_basis(basis, progress=report)


def discover_basis(basis: LocalBasis, *, progress: Progress | None = None) -> Discovery:
    """The directions of a basis, applied, named and calibrated, and random ones; see `discover`."""
    with metered(basis.latent.backbone) as spent:
        found = discover_along(basis, basis.v, lambda k, step: basis.direction(k, step=step), progress=progress)
        same, longer = _controls(basis, found, progress)
        cost = spent()
    return Discovery(basis=basis, directions=found, equal_length=same, equal_effect=longer, cost=cost)


def discover_components(point: LocalBasis, rank: int, *, progress: Progress | None = None) -> Discovery:
    """The same of the principal components of the feature at a point, a basis without vectors."""
    with metered(point.latent.backbone) as spent:
        components = pca_directions(point, rank)
        units = torch.cat([component.z for component in components]) * clean_share(point.level)
        found = discover_along(point, units, lambda k, step: longer_by(components[k], step), progress=progress)
        same, longer = _controls(point, found, progress)
        cost = spent()
    return Discovery(basis=point, directions=found, equal_length=same, equal_effect=longer, cost=cost)


def _controls(
    basis: LocalBasis, found: Sequence[DiscoveredDirection], progress: Progress | None
) -> tuple[tuple[DirectionProbe, ...], tuple[DirectionProbe, ...]]:
    """Random directions, as long as the first ones that were found, and each as long as it takes for their effect."""
    walk = Walk(latent=basis.latent, trace=basis.trace, progress=progress)
    controls = random_units(basis.latent, min(CONTROLS, len(found)), seed=basis.seed)
    what = "random directions"
    lengths = torch.tensor([discovered.probe.length for discovered in found[: len(controls)]], dtype=torch.float64)
    same = probe_directions(walk, controls, lengths, what=what)
    longer = probe_directions(walk, controls, step_lengths(walk, controls), what=what)
    return same, longer


@takes_latent
@explaining
@torch.no_grad()
@plain_default()
def transport(
    direction: Direction,
    latent: JointLatent,
    *,
    rank: int | None = None,
    seed: int = 0,
    progress: Progress | bool | None = True,
) -> TransportResult:
    """Transport a direction to another image, by the Jacobian there at the direction's site and level.

    The text is the direction's prompt, or the caption of the image if the direction was found with the caption of its
    own image. See `geometry.transport`.

    Args:
        direction: from `discover`; one without a feature, or of another model, is a `ConfigError`.
        latent: the other image, from `encode`.
        rank: of a local basis to transport by; None is by the full Jacobian.
        seed: random seed.
        progress: as in `edit`.

    Cost:
        The inversion; 21 evaluations by the full Jacobian, or the search of `local_basis`; one direction of `discover`.
    """
    if not isinstance(direction, Direction):
        raise ConfigError(
            "`transport` needs a direction, and then a latent. Give one of latentedit.discover: "
            "transport(direction, latent)"
        )
    feature_of(direction)
    direction.check_model(latent.backbone.name, latent.backbone.fingerprint)
    settings = direction.settings
    check_value(Count, steps=settings.get("steps"), **({} if rank is None else {"rank": rank}))
    prompt = settings.get("prompt")
    own = prompt in direction.source_captions or not isinstance(prompt, str)
    with progress_bar(progress) as report:
        how: dict[str, Any] = {
            "site": settings["site"],
            "level": direction.level,
            "prompt": None if own else prompt,
            "steps": int(settings["steps"]),
            "pooling": settings.get("pooling", "none"),
            "seed": seed,
            "progress": report,
        }
        basis = basis_point(latent, **how) if rank is None else local_basis(latent, rank=rank, **how)
        carried = transport_unit(direction, basis, full=rank is None, step=1.0)
        unit = carried.direction
        (discovered,) = discover_along(
            basis,
            unit.z * clean_share(basis.level),
            lambda _, step: longer_by(unit, step),
            progress=report,
        )
    return TransportResult(basis=basis, carried=carried, discovered=discovered)


def longer_by(unit: Direction, step: float) -> Direction:
    """A direction of unit length, made ``step`` long."""
    return dataclasses.replace(unit, z=step * unit.z, settings={**unit.settings, "step": step})


def discover_along(
    basis: LocalBasis,
    units: Float[Tensor, "k *latent"],
    direction_at: Callable[[int, float], Direction],
    *,
    progress: Progress | None = None,
) -> tuple[DiscoveredDirection, ...]:
    """Unit directions at a basis, each scaled to the effect, named, calibrated and made by ``direction_at``."""
    walk = Walk(latent=basis.latent, trace=basis.trace, progress=progress)
    probes = probe_directions(walk, units, step_lengths(walk, units), what="edits")
    damages = _damage(basis, probes)
    return tuple(
        _finished(basis, direction_at(index, probe.length), probe, damage)
        for index, (probe, damage) in enumerate(zip(probes, damages, strict=True))
    )


def probe_directions(
    walk: Walk, units: Float[Tensor, "k *latent"], lengths: Float[Tensor, " k"], *, what: str
) -> tuple[DirectionProbe, ...]:
    """Unit directions at every one of `SCALES` times their lengths, decoded and named, by four ways back each."""
    latent, backbone = walk.latent, walk.latent.backbone
    scales = torch.tensor(SCALES, dtype=torch.float64)
    by_scale = walk.to(units, scales[:, None] * lengths, what=what)
    effects = effect_of(by_scale[[SCALES.index(1), SCALES.index(-1)]], latent.z)
    z = by_scale.transpose(0, 1)
    images, reader, source = None, None, latent.z[0]
    if latent.frames:
        decoded = backbone.decode(latent.z) if latent.decoded is None else latent.decoded
        source = latent.frames[0].pixels.to(decoded.device, decoded.dtype)
        changes = [local_change(backbone.decode(rows) - decoded) for rows in z.flatten(0, 1).split(_DECODED_ROWS)]
        images = (source + torch.cat(changes)).clamp(-1, 1).unflatten(0, (len(units), len(SCALES)))
        reader = probability_reader(backbone)
    shown = z if images is None else images
    return tuple(
        DirectionProbe(
            length=float(lengths[index]),
            effect=float(effects[index]),
            meaning=meaning_of(reader, source, shown[index], SCALES),
            z=rows,
            images=None if images is None else images[index],
        )
        for index, rows in enumerate(z)
    )


def probability_reader(backbone: Backbone) -> ProbabilityReader | None:
    """The model's captioner, if it gives probabilities."""
    captioner = captioner_for(backbone)
    return captioner if isinstance(captioner, ProbabilityReader) else None


def _damage(basis: LocalBasis, probes: Sequence[DirectionProbe]) -> list[list[float]]:
    """The residual of each probe at each scale, in units of the judge's threshold of damage."""
    latent, judge = basis.latent, Judge.of(basis.latent.backbone)
    reader = captioner_for(latent.backbone) if latent.frames else None
    text, losses = latent.condition, list[Tensor]()
    if reader is not None and not latent.captions[0]:  # verdicts have its text: without any, hardly anything is damage
        text = latent.embed_with_references(reader.caption(latent.frames[0].pixels[None]))
    for rows in torch.cat([latent.z, *(probe.z for probe in probes)]).split(ROWS):
        losses.append(judge.least_loss(latent.backbone, rows, (text.expand(len(rows)),), seed=basis.seed))
    all_losses = torch.cat(losses)
    residuals = (all_losses[1:] / all_losses[0]).cpu().double().unflatten(0, (len(probes), len(SCALES)))
    return [[value / judge.damage for value in row] for row in residuals.tolist()]


def _finished(
    basis: LocalBasis, direction: Direction, probe: DirectionProbe, damage: Sequence[float]
) -> DiscoveredDirection:
    """The direction with a name, a preview, and a calibration by effects and damage of the probe."""
    x, preview = basis.latent.z, b""
    if probe.images is not None:
        before, after = (probe.images[SCALES.index(scale)] for scale in (-1, 1))
        preview = preview_of(to_images(torch.stack([before, basis.latent.frames[0].pixels.to(before), after])))
    displaced = torch.cat([probe.z - x, torch.zeros_like(x)])
    measured = effect_along(displaced[:, None], probe.z[SCALES.index(1)][None] - x)[:, 0].tolist()
    scales, effects = zip(*sorted(zip((*SCALES, 0.0), measured, strict=True)), strict=True)
    curve = EffectCurve(scales=scales, effects=torch.tensor(effects, dtype=torch.float64)[:, None])
    nothing = 1 / Judge.of(basis.latent.backbone).damage
    lowest, highest = (
        float(curve.effect(undamaged_scale(SCALES, damage, sign=sign, nothing=nothing))) for sign in (-1, 1)
    )
    finished = dataclasses.replace(
        direction,
        settings={**direction.settings, "name": probe.meaning.name, "place": probe.meaning.place},
        calibration=EffectCalibration(
            arm="joint",
            level=basis.level,
            steps=basis.steps,
            scales=scales,
            effects=effects,
            lowest=lowest,
            highest=highest,
        ),
        preview=preview,
    )
    return DiscoveredDirection(direction=finished, probe=probe)


def undamaged_scale(scales: Sequence[float], damage: Sequence[float], *, sign: int, nothing: float) -> float:
    """The scale of one sign at which the damage first reaches 1, interpolated; the largest scale if it never does.

    ``nothing`` is the damage of the image itself, at scale 0; below 1.
    """
    tried = sorted((abs(scale), value) for scale, value in zip(scales, damage, strict=True) if scale * sign > 0)
    before, least = 0.0, nothing
    for scale, value in tried:
        if value >= 1:
            return sign * (before + (scale - before) * (1 - least) / (value - least))
        before, least = scale, value
    return sign * before


def check_folder(folder: Path) -> None:
    """Check that `write_discovery` could write a folder: one that is new, empty, or an earlier discovery."""
    folder = user_path(folder, error=OutputError)
    if folder.is_dir():
        strangers = sorted({path.name for path in folder.iterdir()} - _listed(folder))
        if strangers:
            raise OutputError(
                f"The folder {folder} is neither empty nor an earlier discovery: it contains {strangers[0]!r}. "
                "Choose another folder"
            )
    elif folder.exists():
        raise OutputError(f"The output {folder} is a file, not a folder. Choose another name")
    check_place(folder.resolve().parent / f"{folder.resolve().name}.{secrets.token_hex(4)}")


def write_discovery(discovery: Discovery, folder: Path) -> dict[str, Any]:
    """Write the folder atomically, in place of an earlier discovery; returns the content of its JSON file."""
    _check_shown(discovery)
    check_folder(folder)
    facts = plain(_facts(discovery))
    target = user_path(folder, error=OutputError).resolve()
    hidden = target.with_name(f".{secrets.token_hex(8)}")
    try:
        hidden.mkdir()
        for discovered, name in zip(discovery.directions, file_names(discovery), strict=True):
            discovered.direction.save(hidden / name)
        title = f"{facts['record']['image']['name'] or 'image'}: {len(discovery.directions)} directions"
        save_image(draw_discovery(discovery, title=title), hidden / SHEET)
        write_text(hidden / FACTS, json.dumps(facts, ensure_ascii=False, indent=1))
        _replace(hidden, target)
    except OSError as error:
        reason = str(error).replace(str(hidden), str(folder))
        text = reason if isinstance(error, OutputError) else f"The folder {folder} could not be written: {reason}"
        raise OutputError(text) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return facts


def draw_discovery(discovery: Discovery, *, title: str) -> Image.Image:
    """One direction a row: its name and measurements, then the image at -2, -1, 0, 1 and 2 steps along it."""
    basis, scales = discovery.basis, sorted((0.0, *SCALES))
    panels: list[Image.Image] = []
    for made in _check_shown(discovery):
        images = dict(zip(SCALES, made, strict=True))
        images[0.0] = basis.latent.frames[0].pixels.to(made)
        panels += to_images(torch.stack([images[scale] for scale in scales]))
    labels = [f"{scale:+g}" if scale else "original" for scale in scales] * len(discovery.directions)
    return draw_grid(
        panels,
        labels,
        columns=len(scales),
        title=title,
        lines=(
            f"site {basis.site}, noise level {basis.level:.2f}, prompt: {basis.prompt or 'none'}",
            f"steps of +1 and -1 change the clean latent by {TYPICAL_EFFECT:g} (RMS; latents have unit variance)",
        ),
        row_texts=[_description(discovery, index) for index in range(len(discovery.directions))],
        panel_px=_PANEL_PX,
    )


def _check_shown(discovery: Discovery) -> list[Float[Tensor, "m 3 h w"]]:
    """The images of each direction; a `ConfigError` for latents without images."""
    images = [one.probe.images for one in discovery.directions if one.probe.images is not None]
    if len(images) < len(discovery.directions):
        raise ConfigError("the directions are of latents without images, so there is nothing to draw. Save each alone")
    return images


def _description(discovery: Discovery, index: int) -> str:
    """The attribute, its values in each sign, and the numbers, one a line."""
    meaning = discovery.directions[index].probe.meaning
    attribute, _, values = meaning.name.partition(": ")
    purity = "" if math.isnan(meaning.purity) else f"purity {meaning.purity:.2f}, "
    size = [
        f"{key.replace('_', ' ')} {value:.3g}" for key, value in _size(discovery, index).items() if key != "residual"
    ]
    lines = (f"{index + 1}  {attribute}", values, f"{purity}{meaning.place}", *size)
    return "\n".join(line for line in lines if line)


def file_names(discovery: Discovery) -> list[str]:
    """One a direction: its number and its name."""
    names: list[str] = []
    for index, discovered in enumerate(discovery.directions, start=1):
        words = re.sub(r"[^a-z0-9]+", "-", discovered.probe.meaning.name.lower()).strip("-")
        names.append(f"{index:02d}-{words[:_NAME_LETTERS].strip('-')}.safetensors")
    return names


def _listed(folder: Path) -> set[str]:
    """The files of an earlier discovery by its JSON file; none without one."""
    try:
        facts = read_json(folder / FACTS)
    except FileFormatError:
        return set()
    match facts:
        case {"record": {"versions": {"latentedit": str()}}, "directions": [*rows]}:
            files = (row.get("file") for row in rows if isinstance(row, dict))
            return {FACTS, SHEET, *(file for file in files if isinstance(file, str))}
        case _:
            return set()


def _replace(hidden: Path, target: Path) -> None:
    """Rename a folder; what had its new name is deleted once that succeeded."""
    before = target.with_name(f".{secrets.token_hex(8)}")
    if target.exists():
        target.rename(before)
    try:
        hidden.rename(target)
    except OSError:
        with contextlib.suppress(OSError):
            before.rename(target)
        raise
    shutil.rmtree(before, ignore_errors=True)


def _facts(discovery: Discovery) -> dict[str, Any]:
    basis = discovery.basis
    frame = basis.latent.frames[0]
    return {
        "record": {
            "versions": versions(),
            "model": ModelRecord.of(basis.latent.backbone),
            "image": ImageRecord.of(frame.image, frame.allowed),
            "caption": basis.latent.captions[0],
            "rank": len(discovery.directions),
            **{name: getattr(basis, name) for name in ("prompt", "site", "pooling", "level", "steps", "seed")},
        },
        "effect": TYPICAL_EFFECT,
        "scales": SCALES,
        "directions": [_direction_facts(discovery, *row) for row in enumerate(file_names(discovery))],
        "random": {
            "equal length": [_probe_facts(probe) for probe in discovery.equal_length],
            "equal effect": [_probe_facts(probe) for probe in discovery.equal_effect],
        },
        "basis": {
            name: getattr(basis, name) for name in ("iterations", "products", "converged", "evaluations", "notes")
        },
        "cost": discovery.cost,
    }


def _direction_facts(discovery: Discovery, index: int, file: str) -> dict[str, Any]:
    discovered = discovery.directions[index]
    calibration = discovered.direction.calibration
    return {
        "file": file,
        "fingerprint": discovered.direction.fingerprint,
        **_probe_facts(discovered.probe),
        **_size(discovery, index),
        "sound": None if calibration is None else (calibration.lowest, calibration.highest),
    }


def _size(discovery: Discovery, index: int) -> dict[str, float]:
    """How much a direction moves the feature, or a component varies: with the residual of its search."""
    deviation = discovery.directions[index].direction.settings.get("deviation")
    if deviation is not None:
        return {"deviation": float(deviation)}
    basis = discovery.basis
    return {"singular_value": float(basis.singular_values[index]), "residual": float(basis.residuals[index])}


def _probe_facts(probe: DirectionProbe) -> dict[str, Any]:
    return {**plain(probe.meaning), "length": probe.length, "effect": probe.effect}
