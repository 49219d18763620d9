"""Golden values: what commands and calls compute, stored, to prove that a redesign changes none of it.

`make golden` runs every case on the bundled models, on miniatures with random weights and on drawn images, and compares
with tools/golden.json. Pixels must be equal, numbers and projections of arrays within 1e-6. Three sections are kept:
``values``; ``records`` of results, which change when an option is added; ``fingerprints`` of models, which change when
it is redefined what identifies a model. Versions, paths, times and other fingerprints are not compared.
"""

import argparse
import contextlib
import csv
import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import io
import json
import math
import os
import random
import re
import shlex
import shutil
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, cast

import cv2
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load as load_tensors
from torch import Tensor

import latentedit as le
from latentedit.calibration import GuardCalibration, VerdictCalibration, calibrate
from latentedit.cli.options import ModelChoice
from latentedit.cli.program import run
from latentedit.core.errors import LatentEditWarning
from latentedit.core.plugins import EDITORS
from latentedit.editing.result import EditResult
from latentedit.encoding.images import SourceImage
from latentedit.encoding.record import mask_fingerprint
from latentedit.geometry.paths import PathsBetween
from latentedit.numerics import TruncatedSVD
from latentedit.testing.miniature import sd3_pipeline
from latentedit_drawn.render import render
from latentedit_portraits.attributes import draw_split
from tests.editors.few_steps import few_steps
from tests.keep.pairs import cast as tinted
from tests.keep.pairs import moved, scene, similarity, with_object
from tests.miniatures import MINIATURES
from tools.running import ROOT

STORED = ROOT / "tools" / "golden.json"
MACHINE = "arithmetic"
SECTIONS = ("values", "records", "fingerprints")
TOLERANCE = 1e-6
PROJECTIONS = 3
LONG = 3_000  # letters of what is stored as it is
SHARED = 80  # letters of what is stored once where it occurs more than once
DROPPED = re.compile("versions?$|.*seconds|.*bytes|.*fingerprint$|path$|folder$|host")  # keys
MINIATURE: dict[str, Any] = {"sizes": [64, 64, 96]}
WORDS: dict[str, Any] = {"source_prompt": "a person with black hair", "prompt": "a person with glasses"}
BUNDLED = ("portraits", "portraits-unet", "portraits-kontext", "scenes", "pixels-discs", "pixels-portraits")

Case = Callable[[], Any]
CASES: dict[str, Case] = {}


# Stored forms of values


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def rounded(number: Any) -> float:
    return float(f"{number:.9g}")


def of_pixels(pixels: Any) -> str:
    return f"{pixels.dtype} {'x'.join(map(str, pixels.shape))} {digest(np.ascontiguousarray(pixels).tobytes())}"


def of_numbers(array: Any) -> dict[str, Any]:
    """Shape, length and random projections of an array: they move a little when it does, where a digest flips."""
    flat = np.asarray(array, dtype=np.float64).ravel()
    rows = np.random.default_rng(flat.size).standard_normal((PROJECTIONS, flat.size))
    return {"shape": list(array.shape), "projections": [rounded(one) for one in (np.linalg.norm(flat), *(rows @ flat))]}


def of_array(array: Any) -> Any:
    return of_numbers(array) if array.dtype.kind == "f" else of_pixels(array)


def of_text(text: str) -> str:
    """The text without this machine's folders, fingerprints, versions and times."""
    for folder in (str(Path.cwd()), str(ROOT)):
        text = text.replace(folder, "FOLDER")
    text = re.sub(r"\b[0-9a-f]{16,64}\b", "FINGERPRINT", text)
    text = re.sub(r"\S+\.py:\d+: ", "", text)  # the lines from which Python warns
    return re.sub(r"\b\d+(\.\d+)? ?(s|ms|min|MB|GB|MiB)\b", "COST", text)


def of_json(text: str) -> Any:
    try:
        return plain(json.loads(text))
    except ValueError:
        return of_text(text) if len(text) < 400 else digest(of_text(text).encode())


def of_image(file: Any) -> dict[str, Any]:
    """Pixels, the names of what else it holds, and the record."""
    with Image.open(file) as image:
        image.load()
        record = cast("dict[str, Any]", getattr(image, "text", {})).get("latentedit")
        found = {"mode": image.mode, "pixels": of_pixels(np.asarray(image)), "holds": sorted(map(str, image.info))}
    return found | ({} if record is None else {"record": of_json(record)})


def of_file(name: str, content: bytes) -> Any:
    """A file that was written."""
    ending = Path(name).suffix
    if ending == ".safetensors":
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        tensors = {key: plain(value) for key, value in load_tensors(content).items()}
        return tensors | {"about": {key: of_json(text) for key, text in header.get("__metadata__", {}).items()}}
    if ending in (".png", ".jpg", ".tif"):
        return of_image(io.BytesIO(content))
    if ending == ".ora":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {one: of_file(one, archive.read(one)) for one in archive.namelist()}
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return digest(content)
    if ending == ".html":  # images in it are other cases'
        return digest(re.sub(r"data:[^\"']+", "DATA", of_text(text)).encode())
    if ending == ".csv":
        return [plain(row) for row in csv.DictReader(io.StringIO(text))]
    if ending == ".jsonl":
        return [of_json(line) for line in text.splitlines()]
    return of_json(text)


def plain(value: Any) -> Any:
    """A value as plain values."""
    match value:
        case None | bool() | int():
            return value
        case float():
            return rounded(value)
        case str():
            return of_text(value)
        case Tensor():
            return of_array(value.detach().float().numpy() if value.is_floating_point() else value.numpy())
        case np.ndarray():
            return of_array(value)
        case np.generic():
            return plain(value.item())
        case Image.Image():
            return f"{value.mode} {of_pixels(np.asarray(value))}"
        case Path():
            return of_file(value.name, value.read_bytes())
        case Mapping():
            items = cast("Mapping[Any, Any]", value).items()
            return {str(key): plain(one) for key, one in items if not DROPPED.match(str(key))}
        case EditResult():
            return of_result(value)
        case le.KeepResult():
            return {"image": plain(value.kept.pixels), "mask": plain(value.mask), **plain(value.measures)} | {
                "record": plain(dataclasses.asdict(value.record))
            }
        case le.Direction():
            return of_file("one.safetensors", Path(value.save("direction.safetensors")).read_bytes())
        case le.JointLatent():
            return {"z": plain(value.z), "captions": list(value.captions), "tokens": plain(value.condition.tokens)}
        case list() | tuple():
            return [plain(one) for one in cast("Sequence[Any]", value)]
        case _ if dataclasses.is_dataclass(value):
            return plain({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
        case _:
            return of_text(str(value))


def of_result(result: EditResult) -> dict[str, Any]:
    names = ("image", "strength", "method", "caption", "target_caption", "verdict", "effect", "cross_talk", "notes")
    found = {name: plain(getattr(result, name)) for name in names}
    extra = {"z": result.latent.z, "evaluations": result.cost.evaluations, "knowledge": result.knowledge}
    return found | plain(extra) | {"record": plain(json.loads(result.record.to_json()))}


# Inputs of the cases


@functools.cache
def model(name: str) -> Any:
    return le.load(name)


@functools.cache
def inputs() -> dict[str, Image.Image]:
    """Drawn portraits without glasses, a photograph with its edit, moved and tinted, and masks."""
    bare = [one for one in draw_split("test", 50, seed=3) if one.accessory == "none"]
    before = scene()
    after = moved(tinted(with_object(before)), similarity((1.3, -0.8)), (160, 160))
    here, photo = np.zeros((128, 128), np.uint8), np.zeros((160, 160), np.uint8)
    here[:80], photo[40:110, 60:130] = 255, 255
    arrays = {"photo": before, "edited": after, "other": with_object(before, (40, 40)), "here": here, "mask": photo}
    drawn = {name: image.resize((128, 128)) for name, image in zip(("me", "you"), map(render, bare), strict=False)}
    return drawn | {name: Image.fromarray(one) for name, one in arrays.items()}


def me() -> Image.Image:
    return inputs()["me"]


def small(seed: int = 0) -> Image.Image:
    """A smooth image of 64 x 64 pixels."""
    colors = np.random.default_rng(seed).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    return Image.fromarray(cv2.resize(colors, (64, 64), interpolation=cv2.INTER_LINEAR))


def pipeline_model(make: Callable[[], Any]) -> Any:
    return le.from_pipeline(make(), settings=MINIATURE)


@functools.cache
def tiny() -> Any:
    return pipeline_model(functools.partial(sd3_pipeline, t5=False))


@functools.cache
def glasses() -> le.Direction:
    return le.identify(le.encode(model("portraits"), me()), change="=> glasses", steps=6)


@functools.cache
def basis() -> le.LocalBasis:
    return le.local_basis(le.encode(model("portraits"), me()), rank=2, steps=6)


# The cases


def case(function: Case) -> Case:
    CASES[function.__name__.strip("_").replace("_", " ")] = function
    return function


COMMANDS = {  # separated by semicolons, in a folder with the inputs
    "edit": "edit me.png --change '=> glasses' -o e.png --sheet s.png --view v.html --json; undo e.png -o u.png "
    "--json; replay e.png -o again.png --json",
    "edit with a mask": "edit me.png --add 'a beard' --strength .7 --mask here.png --no-refine -o e.png --json",
    "edit a jpeg": "edit me.png --remove 'a blonde moustache' --force --no-auto-mask -o e.jpg --seed 2 --json",
    "edit a folder": "edit people --add glasses --set steps=6 -o done --workers 1 --json",
    "sweep": "sweep me.png --add glasses --strengths=-1:1:3 -o s.png --json; replay s.png -o again.png --json",
    "sweep as a page": "sweep me.png --method flowslider --add glasses --strengths 0,1 --set steps=6 -o s.html --json",
    "combine": "edit me.png --add glasses --add 'a smile' --strength 1 --strength .5 -o e.png --json; replay e.png "
    "-o again.png --json",
    "instruct": "edit me.png --instruction 'add glasses' --model portraits-kontext -o e.png --json; replay e.png "
    "-o again.png --json",
    "unet": "edit me.png --add glasses --model portraits-unet -o e.png --json; replay e.png -o again.png --json",
    "caption": "caption me.png --json; caption you.png --model portraits-unet --json",
    "direction": "direction make me.png --add glasses -o d.safetensors; direction show d.safetensors --json; direction "
    "preview d.safetensors --on you.png --strengths 0,1 -o p.png; edit you.png --direction d.safetensors -o e.png "
    "--json; replay e.png --direction d.safetensors -o again.png --json; direction compare d.safetensors "
    "d.safetensors --json",
    "discover": "discover me.png -o found --rank 1 --json; transport found/01-*.safetensors --target you.png "
    "-o t.safetensors --json",
    "path": "path me.png you.png -o p.png --frames 3 --method slerp --rank 2 --json",
    "keep": "keep photo.png edited.png -o k.png --save-mask m.png --save-layer l.ora --view v.html --json; replay "
    "k.png --image photo.png --edited edited.png -o again.png --json",
    "keep in part": "keep photo.png edited.png --mask mask.png --strength .6 --only 1 --ai -o k.png --save-layer l.png "
    "--json",
    "keep folders": "keep before after -o kept --json",
    "check": "check photo.png edited.png --mask mask.png --panel p.png --json; check photo.png edited.png",
    "check folders": "check before after -o report --workers 1 --json",
    "models": "models list --json; models show portraits --json; models families --json; models verify portraits-unet",
    "methods": "methods --json; methods eim --json; bench methods --json",
    "bench run": "bench run --items 4 --method flowedit --method eim --seeds 1 --workers 1 -o run --json; bench status "
    "run --json; bench report run -o r.html --json",
    "bench data": "bench data --items 4 -o data --json",
    "bench tune": "bench tune --items 2 --method sdedit -o t.json --json",
    "bench keep": "bench keep --count 2 -o k --json; bench keep --check --count 4 -o c --json",
}


TIMED = {"r.html", "run/ranking.md"}  # show seconds
LOAD = ModelChoice.load


def load_once(choice: ModelChoice) -> Any:
    return model(choice.name) if set(choice.given()) <= {"model"} and choice.name in BUNDLED else LOAD(choice)


def commands(line: str) -> Any:
    """The output of every command, and the files that they leave."""
    for name, image in inputs().items():
        image.save(f"{name}.png")
    for folder, names in {"people": ("me", "you"), "before": ("photo",), "after": ("edited",)}.items():
        Path(folder).mkdir()
        for number, name in enumerate(names):
            shutil.copy(f"{name}.png", f"{folder}/{number}.png")
    known, printed = set(Path().rglob("*")), list[Any]()
    for one in line.split("; "):
        words = [next(map(str, Path().glob(word)), word) if "*" in word else word for word in shlex.split(one)]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            sys.argv = ["latentedit", *words]  # which runs record
            code = run(words)
        if code == 2:
            raise RuntimeError(err.getvalue())
        printed.append({"code": code, "out": of_json(out.getvalue()), "notes": of_text(err.getvalue())})
    files = sorted(path for path in set(Path().rglob("*")) - known if path.is_file() and str(path) not in TIMED)
    return {"printed": printed, "files": {of_text(str(path)): plain(path) for path in files}}


CASES.update({f"command {name}": functools.partial(commands, line) for name, line in COMMANDS.items()})


@case
def frames_at_the_network() -> Any:
    """How many functions of ours are on the stack when a warm edit calls the network: one number for a method."""
    return {method: deepest_stack(method) for method in ("eim", "flowedit")}


def deepest_stack(method: str) -> int:
    """The largest number of our frames above a call of the denoiser, in an edit that follows another one."""
    le.edit(model("portraits"), me(), add="a hat", method=method, progress=False)
    forward = type(model("portraits").pipeline.transformer).forward
    network = getattr(forward, "__wrapped__", forward).__code__
    sources = tuple(f"{ROOT / folder}{os.sep}" for folder in ("src", "models/portraits/src"))
    deepest = 0

    def record_depth(frame: FrameType, event: str, _: object) -> None:
        nonlocal deepest
        if event != "call" or frame.f_code is not network:
            return
        depth = 0
        caller = frame.f_back
        while caller is not None:
            depth += caller.f_code.co_filename.startswith(sources)
            caller = caller.f_back
        deepest = max(deepest, depth)

    sys.setprofile(record_depth)
    try:
        le.edit(model("portraits"), me(), add="glasses", method=method, progress=False)
    finally:
        sys.setprofile(None)
    return deepest


def by_editor(name: str) -> Any:
    """On the portraits, or a miniature where the editor needs another network."""
    return le.edit(model("portraits"), me(), change="=> glasses", method=few_steps(name, model("portraits")))


CASES.update({f"editor {name}": functools.partial(by_editor, name) for name in EDITORS.names()})


def by_family(make: Callable[[], Any]) -> Any:
    """A live pipeline: its text, its levels, a velocity, and edits by the default editor."""
    backbone = pipeline_model(make)
    latent = le.encode(backbone, small(), source_prompt=WORDS["source_prompt"])
    level = torch.full((1,), 0.5)
    return {
        "fingerprints": digest(backbone.fingerprint.encode()),
        "latent": latent,
        "levels": list(backbone.grid(4, height_px=64, width_px=64).levels),
        "velocity": backbone.velocity(latent.z, level.to(latent.z.dtype), latent.condition),
        "edit": le.edit(backbone, small(), **WORDS, steps=3, strength=0.8),
    }


CASES.update({f"family {name}": functools.partial(by_family, make) for name, make in MINIATURES.items()})


@case
def fingerprints() -> Any:
    image = SourceImage(image=me())
    return {"fingerprints": {name: digest(model(name).fingerprint.encode()) for name in BUNDLED}} | {
        "image": digest(image.fingerprint.encode()),
        "mask": digest(str(mask_fingerprint(np.asarray(inputs()["here"]))).encode()),
    }


@case
def a_changed_pipeline() -> Any:
    """Edits with a live pipeline whose weights change between them."""
    pipe = sd3_pipeline(t5=False)
    backbone = le.from_pipeline(pipe, settings=MINIATURE)
    first = le.edit(backbone, small(), **WORDS, steps=3)
    with torch.no_grad():
        next(pipe.transformer.parameters()).mul_(1.5)
    return [first, le.edit(backbone, small(), **WORDS, steps=3)]


@case
def a_session() -> Any:
    latent = le.encode(model("portraits"), [me(), inputs()["you"]], source_prompt="a person")
    session = le.Session(latent)
    found = session.identify(change="=> glasses", method=le.HSDS(steps=6))
    return [found, session.manipulate(found, strength=0.7), session.sweep(found, strengths=[0, 1])]


@case
def directions() -> Any:
    latent = le.encode(model("portraits"), me())
    smile = le.identify(latent, change="=> a smile", steps=6)
    both = [
        le.manipulate(latent, [glasses(), smile], combine=way, strength=0.5) for way in ("sum", "inverse", "projection")
    ]
    return [glasses(), both, le.Session(latent).sweep(glasses(), strengths=[0.5, 1])[0]]


@case
def on_and_back() -> Any:
    """Edits that go on from an edit, their replays, which are bit for bit, and what undoes them."""
    first = le.edit(model("portraits"), me(), change="=> glasses", steps=6)
    second = le.Session(first.latent).edit(change="=> a smile", steps=6)[0]
    again = le.replay(second.record, model("portraits"), me())[0]
    second.save("e.png")
    page = Path("v.html")
    page.write_text(le.view([first, second]).html, encoding="utf-8")
    same = np.array_equal(np.asarray(again.image), np.asarray(second.image)) and torch.equal(
        again.latent.z, second.latent.z
    )
    undone = np.array_equal(np.asarray(le.undo("e.png")), np.asarray(second.source))
    return {"results": [first, second], "same": same, "undone": undone, "page": plain(page)}


@case
def a_local_basis() -> Any:
    one = basis()
    names = (
        "v",
        "u",
        "singular_values",
        "residuals",
        "iterations",
        "products",
        "evaluations",
        "level",
        "site",
        "notes",
    )
    found = le.discover(one.latent, rank=2, steps=6, progress=False)
    probes = [dataclasses.asdict(probe) for probe in (*found.equal_length, *found.equal_effect)]
    moved_on = le.transport(found.directions[0].direction, le.encode(model("portraits"), inputs()["you"]))
    return {name: plain(getattr(one, name)) for name in names} | {
        "energy": plain(one.energy()),
        "carried": plain(le.geometry.transported(one.u, one.u, one.singular_values, one.v)),
        "found": plain([found.directions[0].direction, probes]),
        "transported": plain([moved_on.discovered.direction, moved_on.carried.direction]),
    }


@case
def other_bundled_models() -> Any:
    words: Any = {"source_prompt": "a red ball, on a gray floor", "prompt": "a blue ball, on a gray floor"}
    latents = [le.encode(model(name), me(), source_prompt="") for name in ("pixels-discs", "pixels-portraits")]
    return {
        "scenes": plain(le.edit(model("scenes"), inputs()["photo"], **words, method="flowedit", steps=6)),
        "pixels": plain([le.local_basis(latent, rank=1, steps=4).v for latent in latents]),
    }


@case
def a_latent_without_an_image() -> Any:
    backbone = tiny()
    z = torch.randn((2, *backbone.latent_shape(64, 64)), generator=torch.Generator().manual_seed(1))
    source, target = (backbone.embed([text]) for text in (WORDS["source_prompt"], WORDS["prompt"]))
    made = le.CallableBackbone(backbone.velocity, embed=backbone.embed, latent_shape=backbone.latent_shape)
    return [
        [step.z for step in le.edit_latent(one, z, source, target, [0.5, 1.0], few_steps(name, one), seed=2)]
        for one in (backbone, made)
        for name in ("eim", "flowedit", "dvrf")
    ]


@case
def calibration() -> Any:
    """The calibration of a miniature: its guard, its verdict, and the file."""
    texts = ["a person with glasses", "a person with black hair"]
    guard_sizes = GuardCalibration(images=4, steps=2, batch=2)
    verdict_sizes = VerdictCalibration(images=2, steps=2, batch=2)
    guard = calibrate(tiny(), captions=texts, parts=["guard"], guard_sizes=guard_sizes)
    verdict = calibrate(tiny(), captions=texts, parts=["settings"], verdict_sizes=verdict_sizes)
    both = dataclasses.replace(guard, settings=verdict.settings)
    return [both.guard, both.save(Path())]


@case
def geometry() -> Any:
    draws = torch.randn((4, 3, 12), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    spans = torch.linalg.qr(draws.mT).Q
    g, (a, b, c, d) = le.geometry, spans

    def flat(*_: object) -> TruncatedSVD:
        none = torch.zeros(3, dtype=torch.float64)
        kept: dict[str, Any] = {"residuals": none, "iterations": 0, "products": 0, "converged": True}
        return TruncatedSVD(u=a.mT, singular_values=none + 2, v=b.mT, **kept)

    between: PathsBetween = g.paths_between(
        le.encode(tiny(), [small(), small(1)], source_prompt=WORDS["source_prompt"]), frames=3, rank=2
    )
    return {
        "subspaces": plain([g.principal_angles(a.mT, b.mT), g.geodesic_distance(a.mT, b.mT), g.log_columns(a, b)]),
        "exp": plain([g.exp_columns(a, 0.1 * g.log_columns(a, b)), g.random_level(12, 3)]),
        "means": plain([g.chordal_mean([a.mT, c.mT, d.mT]), g.karcher_mean([a.mT, c.mT, d.mT])]),
        "curves": plain([g.lerp(a, b, 0.3), g.slerp(a, b, 0.3), g.curve_length(draws)]),
        "components": plain([*g.feature_pca(draws.flatten(0, 1), 2)]),
        "shortest": plain(g.shortest_curve(torch.sin, draws.flatten(1), steps=5).points),
        "shot": plain(g.geodesic_shooting(flat, c[:, 0], step=0.3, segments=3, on_shell=True)[0]),
        "paths": plain([[path.points, path.z, path.speeds] for path in between.paths]),
    }


@case
def kept() -> Any:
    one, (photo, edited, mask) = inputs(), (inputs()[name] for name in ("photo", "edited", "mask"))
    pipe = lambda prompt, image, **_: type("Output", (), {"images": [one["other"], image]})  # noqa: E731, ARG005
    cv2.imwrite("deep.png", np.asarray(photo).astype(np.uint16) * 257)
    return {
        "plain": plain([le.keep(photo, edited), le.keep(photo, one["other"]), le.keep(photo, edited, mask=mask)]),
        "deep": plain(le.keep("deep.png", np.asarray(edited))),
        "wrapped": plain(le.wrap_pipeline(pipe)(photo, "a thing")),
        "check": plain([of_check(le.check(photo, edited, mask=mask)), of_check(le.check(photo, one["other"]))]),
    }


def of_check(result: le.CheckResult) -> Any:
    return result.report


@case
def nodes_of_comfyui() -> Any:
    """The functions behind the nodes for images; those on ComfyUI's own models need ComfyUI, see `make comfy`."""
    place = ROOT / "comfyui"
    spec: Any = importlib.util.spec_from_file_location("latentedit_golden_nodes", place / "__init__.py")
    sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[spec.name])
    nodes = importlib.import_module(f"{spec.name}.images")
    images = {
        name: torch.from_numpy(np.asarray(inputs()[name]).astype(np.float32) / 255)[None]
        for name in ("photo", "edited", "mask")
    }
    photo, edited, mask = images.values()
    return [
        plain(one)
        for one in (
            nodes.keep_change(edited, photo),
            nodes.keep_change(edited, photo, mask),
            nodes.check_edit(edited, photo, mask),
            nodes.match_frame_and_color(edited, photo),
            nodes.enforce_mask(edited, photo, mask, 3),
        )
    ]


# The runner


def short(value: Any) -> Any:
    """A long value as a digest of all but its numbers, and projections of these."""
    numbers = list[float]()

    def rest(one: Any) -> Any:
        if isinstance(one, dict):
            return {key: rest(item) for key, item in cast("dict[str, Any]", one).items()}
        if isinstance(one, list):
            return [rest(item) for item in cast("list[Any]", one)]
        if isinstance(one, float) and math.isfinite(one):
            numbers.append(one)
            return 0.0
        return one

    if len(json.dumps(value)) < LONG:
        return value
    return {"rest": digest(json.dumps(rest(value)).encode()), "numbers": of_numbers(np.asarray(numbers))}


def sections(value: Any) -> dict[str, Any]:
    """A case's value, its records and its fingerprints, apart."""
    apart: dict[str, dict[str, Any]] = {"records": {}, "fingerprints": {}}
    homes = {"record": "records", "records": "records", "fingerprints": "fingerprints"}

    def rest(one: Any, place: str) -> Any:
        if isinstance(one, dict):
            found = cast("dict[str, Any]", one)
            for key in found.keys() & homes.keys():
                apart[homes[key]][f"{place}/{key}".strip("/")] = found[key]
            return {key: rest(item, f"{place}/{key}") for key, item in found.items() if key not in homes}
        if isinstance(one, list):
            return [rest(item, f"{place}/{number}") for number, item in enumerate(cast("list[Any]", one))]
        return one

    def limited(one: Any, depth: int = 2) -> Any:
        if isinstance(one, dict) and depth:
            return {key: limited(item, depth - 1) for key, item in cast("dict[str, Any]", one).items()}
        if isinstance(one, list) and depth:
            return [limited(item, depth - 1) for item in cast("list[Any]", one)]
        return short(one)

    return {"values": limited(rest(value, "")), **apart}


def packed(stored: Any) -> dict[str, Any]:
    """The same with parts that occur more than once, such as captions, stored once, under ``shared``."""
    texts, shared = Counter[str](), dict[str, Any]()

    def pack(one: Any) -> Any:
        text = json.dumps(one)
        texts[text] += 1
        if isinstance(one, dict):
            one = {key: pack(item) for key, item in cast("dict[str, Any]", one).items()}
        elif isinstance(one, list):
            one = [pack(item) for item in cast("list[Any]", one)]
        if len(text) < SHARED or counted[text] < 2:
            return one
        shared[key := digest(text.encode())] = one
        return {"shared": key}

    counted = Counter[str]()
    pack(stored)
    counted = texts.copy()
    return {**pack(stored), "shared": dict(sorted(shared.items()))}


def unpacked(content: dict[str, Any]) -> dict[str, Any]:
    """The opposite of `packed`."""
    shared = content.pop("shared", {})

    def unpack(one: Any) -> Any:
        if isinstance(one, dict):
            found = cast("dict[str, Any]", one)
            if found.keys() == {"shared"}:
                return unpack(shared[found["shared"]])
            return {key: unpack(item) for key, item in found.items()}
        return [unpack(item) for item in cast("list[Any]", one)] if isinstance(one, list) else one

    return unpack(content)


def differences(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """Where two values differ, and how."""
    if isinstance(old, dict) and isinstance(new, dict):
        first, second = cast("dict[str, Any]", old), cast("dict[str, Any]", new)
        if first.keys() == second.keys() == {"shape", "projections"}:
            if first["shape"] != second["shape"]:
                yield f"{place}: array of {first['shape']} -> {second['shape']}"
                return
            a, b = np.asarray(first["projections"]), np.asarray(second["projections"])
            error = float(np.abs(a - b).max() / max(abs(a[0]), 1e-30))
            if not np.array_equal(a, b, equal_nan=True) and not error <= TOLERANCE:
                yield f"{place}: array of {first['shape']}, relative difference {error:.1e}"
            return
        for key in sorted(first.keys() | second.keys()):
            if key not in first or key not in second:
                yield f"{place}/{key}: {'is new' if key in second else 'is gone'}"
            else:
                yield from differences(first[key], second[key], f"{place}/{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(cast("list[Any]", old)) == len(cast("list[Any]", new)):
        for number, both in enumerate(zip(cast("list[Any]", old), cast("list[Any]", new), strict=True)):
            yield from differences(*both, f"{place}/{number}")
    elif isinstance(old, float) and isinstance(new, int | float):
        if not math.isclose(old, new, rel_tol=TOLERANCE, abs_tol=1e-9) and not (math.isnan(old) and math.isnan(new)):
            yield f"{place}: {old!r} -> {new!r}"
    elif old != new:
        yield f"{place}: {str(old)[:150]} -> {str(new)[:150]}"


def arithmetic() -> str:
    """Digest of what this processor and this PyTorch make of a few operations, to the last bit."""
    x = torch.randn((1, 32, 16, 16), generator=torch.Generator().manual_seed(0))
    rows = torch.nn.functional.conv2d(x, x[:, :, :3, :3].expand(32, -1, -1, -1)).flatten(2)
    y = torch.nn.functional.scaled_dot_product_attention(rows, rows.flip(1), rows) @ rows.mT
    return digest((y.exp().log1p() + y.softmax(-1)).numpy().tobytes())


def measured(name: str) -> dict[str, Any]:
    """The sections of one case, which runs in an empty folder."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        os.environ["LATENTEDIT_DATA"] = str(Path(folder, ".data"))
        return json.loads(json.dumps(sections(plain(CASES[name]()))))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="CASE", help="default: all")
    parser.add_argument("--write", action="store_true", help="store the values of these cases")
    parser.add_argument("--shuffle", type=int, metavar="SEED", help="run the cases in another order")
    parser.add_argument("--without", choices=SECTIONS, action="append", default=[], help="compare no such section")
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    warnings.simplefilter("ignore", LatentEditWarning)
    setattr(ModelChoice, "load", load_once)  # noqa: B010
    stored = unpacked(json.loads(STORED.read_text())) if STORED.exists() else {}
    names, failed, machine = given.names or list(CASES), 0, stored.pop(MACHINE, None)
    if machine not in (None, arithmetic()) and not given.write:
        print("NOT COMPARED: this machine rounds otherwise than the one that wrote tools/golden.json.")
        print("Write it here from the commit before yours (make golden ARGUMENTS=--write), and compare with that")
        return 0
    if given.shuffle is not None:
        random.Random(given.shuffle).shuffle(names)
    for name in names:
        started = time.perf_counter()
        found = measured(name)
        print(f"{time.perf_counter() - started:6.1f} s  {name}", flush=True)
        if given.write:
            stored[name] = found
            continue
        old = stored.get(name, {section: {} for section in SECTIONS})
        lines = [
            f"{section}{line}"
            for section in SECTIONS
            if section not in given.without
            for line in differences(old[section], found[section])
        ]
        print("".join(f"          DIFFERS {line}\n" for line in lines), end="")
        failed += bool(lines)
    if given.write:
        rows = packed({name: stored[name] for name in sorted(CASES.keys() & stored.keys())})
        rows = {MACHINE: arithmetic()} | rows
        text = ",\n".join(f"{json.dumps(name)}: {json.dumps(row, separators=(',', ':'))}" for name, row in rows.items())
        STORED.write_text(f"{{\n{text}\n}}\n")
    print(f"{len(names)} cases, {failed} differ" if not given.write else f"wrote {len(names)} cases")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
