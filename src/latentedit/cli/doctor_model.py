"""``latentedit doctor --model``: memory that a model needs, and whether it works on this machine."""

import dataclasses
from typing import TYPE_CHECKING, Any

from latentedit.cli.model_choice import ModelChoice
from latentedit.core.errors import LatentEditError
from latentedit_keep.console import print_json, progress_bar, say

if TYPE_CHECKING:
    from latentedit.models.memory import ModelNeeds
    from latentedit.models.placement import Placement

_LABEL_WIDTH = 18


def examine(choice: ModelChoice, *, load: bool, as_json: bool) -> bool:
    """Report the memory that a model needs, then load it if it fits and try an edit; return whether all checks pass.

    For a hub id, only the configurations are downloaded before it is loaded.

    Raises:
        LatentEditError: no such model, or a device that this machine lacks.
    """
    from latentedit.models.memory import suited_placement
    from latentedit.models.placement import Placement, dtype_name, existing_device, known_dtype, suited_dtype
    from latentedit.models.registry import look_up

    given = choice.given()
    needs = look_up(choice.name, **{name: given[name] for name in ("text_encoders", "revision") if name in given})
    device = existing_device(choice.device)
    if choice.dtype in (None, "auto"):
        dtype = suited_dtype(device, bytes_float32=4 * needs.parameters, half=needs.half)
    else:
        dtype = known_dtype(choice.dtype)
    wished = Placement(device=device, dtype=dtype)
    suited = suited_placement(needs, wished)
    rows = [*_part_rows(needs, wished), _fit_row(needs, wished, suited)]
    if not as_json:
        for row in rows:
            _say(row)
    tried = [] if suited is None or not load else _tried(choice, suited, as_json=as_json)
    ok = suited is not None and all(row["ok"] for row in tried)
    if as_json:
        placement = None if suited is None else {"dtype": dtype_name(suited.dtype), "placement": suited.policy}
        checks = [*rows, *tried]
        print_json({"ok": ok, "model": choice.name, "device": str(device), "fits": placement, "checks": checks})
    else:
        failed = [row["check"] for row in (*rows, *tried) if not row["ok"]]
        say()
        say(f"problems: {', '.join(failed)}" if failed else "no problems found")
    return ok


def _part_rows(needs: "ModelNeeds", placement: "Placement") -> list[dict[str, Any]]:
    """Each network with its parameters and bytes by dtype, and the activations."""
    import torch

    from latentedit.models.memory import gigabytes
    from latentedit.models.placement import dtype_name

    in_half = dataclasses.replace(placement, dtype=needs.half)
    kept = {
        "float32": dataclasses.replace(placement, dtype=torch.float32),
        dtype_name(needs.half): in_half,
        "fp8 storage": dataclasses.replace(in_half, storage=torch.float8_e4m3fn),
    }
    rows: list[dict[str, Any]] = []
    for part, network in needs.parts.items():
        sizes = {label: needs.part_bytes(part, one) for label, one in kept.items()}
        if part != needs.denoiser:
            del sizes["fp8 storage"]
        told = ", ".join(f"{gigabytes(size)} in {label}" for label, size in sizes.items())
        found = f"{network.kind}, {network.parameters / 1e6:,.4g} M parameters: {told}"
        rows.append(_row(part, found, parameters=network.parameters, bytes=sizes))
    work = needs.activation_bytes(placement)
    found = f"about {gigabytes(work)} in {dtype_name(placement.dtype)} for an image of {needs.side_px} px"
    return [*rows, _row("activations", found, activation_bytes=work)]


def _fit_row(needs: "ModelNeeds", wished: "Placement", suited: "Placement | None") -> dict[str, Any]:
    """Whether and how the model fits this machine's memory."""
    from latentedit.models.memory import free_bytes, gigabytes
    from latentedit.models.placement import dtype_name

    free = gigabytes(free_bytes(wished.device))
    if suited is None:
        total = gigabytes(needs.total_bytes(wished))
        return _row("fits", f"no: {total}, with {free} free on {wished.device}", ok=False, cure="Use a smaller model")
    how = f"dtype={dtype_name(suited.dtype)!r} and placement={suited.policy!r}"
    return _row("fits", f"{suited.device} with {how}: {gigabytes(needs.total_bytes(suited))} of {free} free")


def _tried(choice: ModelChoice, placement: "Placement", *, as_json: bool) -> list[dict[str, Any]]:
    """Checks of the loaded model; each is printed as it finishes."""
    from latentedit.editing.checkup import check_model
    from latentedit.models.memory import gigabytes
    from latentedit.models.placement import dtype_name

    rows: list[dict[str, Any]] = []
    with progress_bar(quiet=as_json) as progress:
        try:
            suited = ModelChoice(dtype=dtype_name(placement.dtype), placement=placement.policy)
            model = dataclasses.replace(choice, dtype=None).or_else(suited).load()
        except LatentEditError as error:
            rows.append(_row("load", " ".join(str(error).split()), ok=False))
            if not as_json:
                _say(rows[-1])
            return rows
        for check in check_model(model, progress=progress):
            spent = f"{check.seconds:.1f} s, peak {gigabytes(check.peak_bytes)}"
            cost = {"seconds": check.seconds, "peak_bytes": check.peak_bytes}
            rows.append(_row(check.name, f"{check.found} ({spent})", ok=check.ok, cure=check.cure, **cost))
            if not as_json:
                _say(rows[-1])
    return rows


def _row(check: str, found: str, *, ok: bool = True, cure: str = "", **facts: Any) -> dict[str, Any]:
    return {"check": check, "found": found, "ok": ok, "cure": cure, **facts}


def _say(row: dict[str, Any]) -> None:
    cure = f". {row['cure']}" if row["cure"] else ""
    say(f"{'ok ' if row['ok'] else 'BAD'}  {row['check']:<{_LABEL_WIDTH}}{row['found']}{cure}")
