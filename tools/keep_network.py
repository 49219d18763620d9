"""A small network in place of the rules of `latentedit_keep.pixels.detection`, tried once.

``python -m tools.keep_network make WORKER`` makes crops of known pairs until it is stopped. ``train`` trains on them,
``export`` writes the ONNX file and compares OpenCV with torch, ``calibrate`` chooses the thresholds, and ``made rules``
and ``made network`` measure pairs of a new draw. All files are in ``out/network``.
"""

import functools
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from latentedit_bench.known_pairs import cases, check_rates, damages, plain
from latentedit_bench.known_pairs.damages import as_pixels, draw_damage, draw_more, lit, smooth_field
from latentedit_keep.photo import Array, depth_inside, warped
from latentedit_keep.photo.warp import Mask, largest, median, quantile, smoothed
from latentedit_keep.pixels import detection, finding
from latentedit_keep.pixels.light import find_light
from latentedit_keep.pixels.tones import fit_blur, fit_tones, matched

OUT = Path("out/network")
WALLPAPERS = Path("/tmp/walls")  # unpacked Debian packages, and list.txt with their images
NO_PHOTOGRAPHS = {13, *range(29, 33), 34, 35, 36, 38, 39, 41, 43, 44, 45}  # their rows: transparent, empty, repeated
TRAINED = ("gravel.png", "retina.jpg", "motorcycle_left.png", "camera.png")
CALIBRATED = (
    "skimage/data/chelsea.png", "skimage/data/coins.png", "skimage/data/text.png", "sklearn/datasets/images/china.jpg",
)  # fmt: skip
CALIBRATION_SEED = 31
TEST_SEED = 90417  # no measurement has used it
CROP_PX = 224
SHARD = 48  # crops a file
BATCH = 12
STEPS = 3500
MINUTES = 45.0
WIDTHS = (24, 32, 40, 48)  # features at a half, a quarter, ... of the size
MULTIPLE_PX = 2 ** len(WIDTHS)
WEAK_LEVELS = 8.0  # strength below which a change may be anything
RAMP = (0.3, 0.7)  # probabilities between which the mask rises
Planes = NDArray[np.uint8]


# Pairs ---------------------------------------------------------------------------------------------------------------


def training_photographs() -> tuple[str, ...]:
    """Names of the photographs to train on."""
    rows = (WALLPAPERS / "list.txt").read_text().split()
    return (*(row for i, row in enumerate(rows) if i not in NO_PHOTOGRAPHS), *(f"skimage/data/{n}" for n in TRAINED))


@functools.cache
def load_photograph(name: str, packaged: Callable[[str], Any] = cases.load_photograph) -> Any:
    """A wallpaper with at most 1600 px a side, or a photograph of a package."""
    if not name.startswith("x/"):
        return packaged(name)
    image = Image.open(WALLPAPERS / name).convert("RGB")
    image.thumbnail((1600, 1600))
    return np.asarray(image)


def use_photographs(names: tuple[str, ...]) -> None:
    """Let the bench make its calibration pairs of these."""
    cases.PHOTOGRAPHS["calibration"] = names
    cases.load_photograph = plain.load_photograph = load_photograph


def drawn_pair(seed: int, index: int) -> cases.Case:
    """A pair of the bench, or one with lettering."""
    generator = np.random.default_rng([seed, index, 5])
    kind = ("unchanged", "local")[int(generator.uniform() < 0.6)]
    choice = generator.uniform()
    if choice < 0.6:
        return cases.make_case("calibration", index % 16, kind=kind, seed=seed + index, least=0.003, more=True)
    if choice < 0.75:
        stratum = str(generator.choice(["grain", "soft"]))
        return plain.plain_case("calibration", index, stratum=stratum, kind=kind, seed=seed, least=0.003)
    photograph = load_photograph(str(generator.choice(cases.PHOTOGRAPHS["calibration"])))
    original = cases.scaled(plain._crop(photograph, generator), int(generator.choice((480, 720, 1000))), generator)
    truth = original.copy()
    for _ in range(int(generator.integers(1, 5))):
        text = "".join(generator.choice(list("ABCDEFGHIKLMNOPRSTUabcdefgiklmnoprstu0123456789 .!?"), 9))
        place = tuple(int(generator.uniform(0, 0.8) * side) for side in original.shape[1::-1])
        color = tuple(int(level) for level in generator.choice([0, 255, *generator.integers(0, 255, 2)], 3))
        scale, width = float(generator.uniform(0.5, 3)), int(generator.integers(1, 6))
        cv2.putText(truth, text, place, int(generator.integers(0, 8)), scale, color, width, cv2.LINE_AA)
    if generator.uniform() < 0.5:
        original, truth = truth, original
    damage = draw_more(draw_damage(original.shape[1::-1], generator), generator)
    return cases.Case(
        index=index, kind="local", what="letters", image="", original=original, truth=truth,
        mask=cases.true_mask(original.astype(np.float32), truth.astype(np.float32)),
        edited=damage.apply(truth.astype(np.float32)), damage=damage,
    )  # fmt: skip


def more_damage(image: Array, generator: np.random.Generator) -> Array:
    """Damage that the bench's editors do not do, in half of all pairs."""
    shape, kind = image.shape[:2], int(generator.integers(12))
    if kind == 0:
        image = image + float(generator.uniform(0.4, 1.5)) * (image - smoothed(image, 1.2))
    if kind == 1:
        image = image + generator.normal(0, float(generator.uniform(2, 14)), image.shape).astype(np.float32)
    if kind in (2, 3):
        x, y = (float(generator.uniform(0.5, 2.5)) * smooth_field(shape, 1 / 12, generator) for _ in range(2))
        down, across = np.indices(shape, dtype=np.float32)
        image = cv2.remap(image, across + x, down + y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    if kind == 4:
        shade = float(generator.uniform(-0.3, 0.4))
        image = image * lit(shape, str(generator.choice(["above", "corners"])), shade, generator)[..., None]
    if kind == 5:
        image = image.copy()
        for _ in range(40):  # texture is exchanged with what is next to it
            side, shift = int(generator.integers(6, 24)), generator.integers(2, 6, 2)
            top, left = (int(generator.integers(0, max(1, length - side - 6))) for length in shape)
            part = image[top : top + side, left : left + side]
            part[:] = image[top + shift[0] :, left + shift[1] :][: part.shape[0], : part.shape[1]].copy()
    return image.astype(np.float32).clip(0, 255)


def framed(case: cases.Case, generator: np.random.Generator, *, exact: bool = False) -> tuple[Planes, Planes]:
    """Both images as `detect` gets them, ``[height, width, 6]``, and the masks of the change and its weak part."""
    damage, size = case.damage, case.original.shape[1::-1]
    assert damage is not None
    off = np.eye(3)
    off[:2, 2] = generator.normal(0, 0.0 if exact else 0.15, 2)
    here, edited = case.original.astype(np.float32), case.edited.astype(np.float32)
    there = warped(edited if exact else more_damage(edited, generator), damage.matrix @ off, size)
    inside = depth_inside(damage.matrix @ off, size, damage.size) >= 2.5
    light = find_light(here, there, inside)
    if light is not None:
        there = light.undone(there)
    unchanged = inside & (case.mask == 0)
    if exact or generator.uniform() > 1 / 6:
        tones = fit_tones(here, there, unchanged)
        here, there = tones.limited(here), tones.apply(there)
    first, second = matched(here, there, fit_blur(here, there, unchanged))
    second = np.where(inside[..., None], second, first)
    apart = case.truth.astype(np.float32) - case.original
    strength, damaged = (largest(np.abs(smoothed(plane, 3.0))) for plane in (apart, second - first - apart))
    weak = strength < np.maximum(WEAK_LEVELS, 2 * damaged)
    mask = case.mask * inside
    return as_pixels(np.dstack([first, second])), as_pixels(255 * np.dstack([mask, mask * weak]))


def make(worker: int) -> None:
    """Write files of crops until it is stopped."""
    use_photographs(training_photographs())
    cases._PHOTOGRAPH_SIDES = (256, 400, 512, 640, 900)
    damages.CODECS = (*damages.CODECS[:-2] * 2, *("redrawn",) * 4, "autoencoder")  # the last one takes ten seconds
    crops, index = list[NDArray[np.uint8]](), worker
    number = len(list(OUT.glob(f"crops-{worker}-*.npz")))
    index += 8 * 20 * number
    while True:
        generator = np.random.default_rng([501, index])
        images, target = framed(drawn_pair(501, index), generator)
        index += 8
        whole = np.dstack([images, target])
        whole = np.pad(whole, [*((0, max(0, CROP_PX - side)) for side in whole.shape[:2]), (0, 0)], mode="symmetric")
        for _ in range(min(8, 1 + whole[..., 0].size // CROP_PX**2)):
            changed = np.argwhere(whole[..., 6] > 127)
            middle = generator.integers(0, whole.shape[:2])
            if len(changed) and generator.uniform() < 0.5:
                middle = changed[int(generator.integers(len(changed)))] + generator.integers(-90, 91, 2)
            top, left = (middle - CROP_PX // 2).clip(0, np.array(whole.shape[:2]) - CROP_PX)
            crops.append(whole[top : top + CROP_PX, left : left + CROP_PX])
        if len(crops) >= SHARD:
            np.savez(OUT / f"new-{worker}.npz", crops=np.stack(crops[:SHARD]))
            (OUT / f"new-{worker}.npz").rename(OUT / f"crops-{worker}-{number:04d}.npz")
            crops, number = crops[SHARD:], number + 1


# Network -------------------------------------------------------------------------------------------------------------


def layer(inputs: int, outputs: int, side: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution, and what follows it."""
    convolution = nn.Conv2d(inputs, outputs, side, stride, (side - 1) // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class Network(nn.Module):
    """From two images in [-2, 2], ``[batch, 6, height, width]``, to logits of damage, change and unsure."""

    def __init__(self) -> None:
        super().__init__()
        widths = (9, *WIDTHS)
        self.down = nn.ModuleList(
            nn.Sequential(layer(a, b, 4 if a == 9 else 3, 2), layer(b, b)) for a, b in zip(widths, WIDTHS, strict=False)
        )
        self.means = nn.ModuleList(nn.Linear(WIDTHS[0] + WIDTHS[-1], width) for width in WIDTHS)
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in itertools.pairwise(WIDTHS))
        self.fine = nn.ModuleList(layer(width, width) for width in WIDTHS[:-1])
        self.last = nn.ConvTranspose2d(WIDTHS[0], 3, 4, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        """The logits, ``[batch, 3, height, width]``."""
        first, second = images[:, :3], images[:, 3:]
        planes, features = torch.cat([first, second, 4 * (second - first)], 1), list[Tensor]()
        for down in self.down:
            planes = down(planes)
            features.append(planes)
        means = torch.cat([nn.functional.adaptive_avg_pool2d(features[at], 1) for at in (0, -1)], 1).flatten(1)
        planes = planes + self.means[-1](means)[..., None, None]
        for at in reversed(range(len(WIDTHS) - 1)):
            planes = self.fine[at](features[at] + self.means[at](means)[..., None, None] + self.up[at](planes))
        return self.last(planes)


def batches(generator: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of all crops that are there, turned and mirrored."""
    loaded = dict[Path, Planes]()
    while True:
        for path in OUT.glob("crops-*.npz"):
            if path not in loaded:
                loaded[path] = np.load(path)["crops"]
        files = list(loaded.values())
        for _ in range(40):
            chosen = generator.integers(0, (len(files), SHARD), (BATCH, 2))
            batch = np.stack([files[file][place] for file, place in chosen]).astype(np.float32)
            for crop, other in itertools.pairwise(batch):
                if generator.uniform() < 0.25:  # a part of the edit becomes that of another pair
                    part = cases.blob(crop.shape[:2], 10 ** float(generator.uniform(-2.7, -0.7)), generator)[..., None]
                    crop[..., 3:6] += part * (other[..., 3:6] - crop[..., 3:6])
                    crop[..., 6:] += part * (np.array([255, 0], np.float32) - crop[..., 6:])
            turned = [
                np.rot90(crop, int(generator.integers(4)))[:, :: int(generator.choice([1, -1]))] for crop in batch
            ]
            planes = torch.from_numpy(np.stack(turned)).permute(0, 3, 1, 2)
            mask, weak, colors = planes[:, 6] / 255, planes[:, 7] / 255, torch.randperm(3)
            images = torch.cat([planes[:, :3][:, colors], planes[:, 3:6][:, colors]], 1)
            yield images / 64 - 2, torch.stack([1 - mask, mask - weak, weak], 1)


def train() -> None:
    """Train from the last state until the steps or the minutes are spent."""
    torch.manual_seed(0)  # noqa: TID251
    torch.set_num_threads(1)
    network, state = Network(), OUT / "state.pt"
    print(sum(one.numel() for one in network.parameters()), "weights", flush=True)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-3)
    step, spent = 0, 0.0
    if state.exists():
        stored = torch.load(state)  # noqa: TID251
        network.load_state_dict(stored["network"])
        optimizer.load_state_dict(stored["optimizer"])
        step, spent = stored["step"], stored["spent"]
    network.train().to(memory_format=torch.channels_last)
    weight, losses, begun = torch.tensor([1.0, 2.0, 2.0]).view(1, 3, 1, 1), list[float](), time.time() - spent
    for images, target in batches(np.random.default_rng([step, 9])):
        done = max(step / STEPS, (time.time() - begun) / 60 / MINUTES)
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * min(1.0, step / 100) * (1 - done)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(images.contiguous(memory_format=torch.channels_last))
        loss = -(weight * target * logits.float().log_softmax(1)).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        losses.append(loss.item())
        if step % 50 == 0:
            spent = time.time() - begun
            print(step, f"{np.mean(losses[-50:]):.4f} {spent / step:.3f} s a step", flush=True)
            stored = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(stored | {"step": step, "spent": spent}, state)


def export() -> None:
    """Write the ONNX file, and print the largest difference of OpenCV's probabilities from torch's."""
    network = Network()
    network.load_state_dict(torch.load(OUT / "state.pt")["network"])  # noqa: TID251
    network.eval()
    axes = {"images": {2: "height", 3: "width"}, "logits": {2: "height", 3: "width"}}
    torch.onnx.export(
        network, (torch.zeros(1, 6, 64, 96),), str(OUT / "network.onnx"), dynamic_axes=axes, dynamo=False,
        input_names=["images"], output_names=["logits"], opset_version=13,
    )  # fmt: skip
    generator = np.random.default_rng(0)
    for shape in ((160, 224), (608, 448), (64, 64)):
        images = generator.integers(0, 256, (*shape, 6)).astype(np.float32)
        with torch.no_grad():
            given = torch.from_numpy(images / 64 - 2).permute(2, 0, 1)[None]
            expected = network(given).softmax(1)[0].numpy()
        print(shape, "differs by", np.abs(probabilities(images[..., :3], images[..., 3:]) - expected).max())


@functools.cache
def reader() -> Any:
    """OpenCV's network."""
    return cv2.dnn.readNetFromONNX(str(OUT / "network.onnx"))


def probabilities(first: Array, second: Array) -> Array:
    """Probabilities of damage, change and unsure, ``[3, height, width]``."""
    height, width = first.shape[:2]
    planes = np.dstack([first, second]).clip(0, 255)
    planes = np.pad(planes, [(0, -height % MULTIPLE_PX), (0, -width % MULTIPLE_PX), (0, 0)], mode="symmetric")
    reader().setInput(np.ascontiguousarray(np.moveaxis(planes / np.float32(64) - 2, 2, 0)[None]))
    logits = reader().forward()[0, :, :height, :width]
    powers = np.exp(logits - logits.max(axis=0))
    return powers / powers.sum(axis=0)


# In the product ------------------------------------------------------------------------------------------------------


@functools.cache
def thresholds() -> dict[str, float]:
    """The calibrated thresholds: "sure", "area", "counted" and "certain"."""
    return json.loads((OUT / "calibration.json").read_text())


def components(damage: Array, change: Array, sure: float, area: float) -> tuple[Array, Mask]:
    """The soft mask, and its components that have enough sure pixels."""
    soft = ((1 - damage - RAMP[0]) / (RAMP[1] - RAMP[0])).clip(0, 1)
    count, labels = cv2.connectedComponents((soft > 0.5).astype(np.uint8))
    pixels = np.bincount(labels[(change > sure) & (labels > 0)], minlength=count)
    return soft, (pixels > area * min(damage.shape) ** 2)[labels]


latest = np.zeros((1, 1), dtype=np.float32)  # probability of a change in the last round


def detect(original: Array, edited: Array, inside: Mask, unchanged: Mask, *_: Any, **__: Any) -> detection.Evidence:
    """The evidence of the network, with its soft mask as ``fading``."""
    global latest
    damage, latest, _ = probabilities(original, np.where(inside[..., None], edited, original))
    soft, changed = components(damage, latest, thresholds()["sure"], thresholds()["area"])
    changed &= inside
    outlines = detection.edges(original), detection.edges(edited)
    before, after = (detection._spread_out(outline) for outline in outlines)
    amount = np.sqrt(detection._energy(smoothed(detection._opponent(edited - original), 0.7)))
    quiet = amount[unchanged & ~changed]
    noise = np.full_like(amount, max(1.2, median(quiet) if quiet.size else 0.0))
    return detection.Evidence(
        changed=changed, fine=changed, amount=amount, noise=noise, density=soft, outlines=outlines, activity=after,
        detail=np.minimum(before, after), fading=soft * detection.grown(changed, 2),
    )  # fmt: skip


def rim(evidence: detection.Evidence, inside: Mask, blur: float, beyond: Mask | None = None) -> Array:  # noqa: ARG001
    """The soft mask, continued along the border."""
    known = detection.grown(inside, 3) if beyond is None else detection.grown(inside, 3) | beyond
    inner = detection._shrunk(inside, 3)
    return np.where(known, detection.nearest(evidence.fading.astype(np.float32), inner if inner.any() else inside), 0)


def contrasts(original: Array, edited: Array, inside: Mask, mask: Array, numbers: Any) -> Array:  # noqa: ARG001
    """Strength of each separate change by its number, from its probabilities."""
    solid, limits = (mask > 0.5) & inside, thresholds()
    order, values = np.argsort(numbers[solid], kind="stable"), latest[solid]
    parts = np.split(values[order], np.searchsorted(numbers[solid][order], np.arange(1, numbers.max() + 1)))
    sure = [quantile(part, 0.9) if part.size else 0.0 for part in parts]
    sure[0] = 0.0
    return np.interp(sure, [0, limits["counted"], limits["certain"], 1], [0, 2, 3, 9]).astype(np.float32)


def install() -> None:
    """Put the network in the place of the rules."""
    detection.detect, detection.rim, detection.contrasts = detect, rim, contrasts
    for name in ("vanished", "leftovers", "tinted"):
        setattr(detection, name, lambda first, *_: np.zeros(first.shape[:2], dtype=bool))
    detection.joined = lambda mask, _: mask
    finding._raise_evident = lambda *_: None


# Measurements --------------------------------------------------------------------------------------------------------


def calibration_pairs() -> list[tuple[Planes, Planes]]:
    """Pairs of photographs that were not trained on, in one frame."""
    path = OUT / "calibration.npy"
    pairs = list(np.load(path, allow_pickle=True)) if path.exists() else []
    use_photographs(CALIBRATED)
    check_rates.SEEDS["calibration"] = CALIBRATION_SEED
    for index in [index for index in range(154) if index % 11 < 10][len(pairs) :]:
        stratum, case = check_rates.check_case("calibration", index)
        pairs.append(None if stratum == "tiny" else framed(case, np.random.default_rng([7, index]), exact=True))
        np.save(path, np.array([*pairs, None], dtype=object)[:-1])
    return [pair for pair in pairs if pair is not None]


def calibrate() -> None:
    """Choose thresholds: of unchanged pairs, 2.5 % have a certain change and 5 % a counted one; fewest are missed."""
    rows, pairs = list[dict[str, float]](), calibration_pairs()
    known = [(probabilities(*np.split(i.astype(np.float32), 2, 2)), target[..., 0] > 127) for i, target in pairs]
    for sure, area in itertools.product((0.3, 0.5, 0.7, 0.9), (1e-4, 4e-4, 1e-3)):
        alarms, hits = list[float](), list[float]()
        for (damage, change, _), truth in known:
            soft, taken = components(damage, change, sure, area)
            count, labels = cv2.connectedComponents((taken & (soft > 0.5)).astype(np.uint8))
            parts = [labels == number for number in range(1, count)]
            strength = [quantile(change[part], 0.9) for part in parts if truth[part].any() or not truth.any()]
            (hits if truth.any() else alarms).append(max(strength, default=0.0))
        counted, certain = (float(np.quantile(alarms, share, method="higher")) for share in (0.95, 0.975))
        certain = float(np.clip(certain + 1e-3, 0.5, 0.999))
        row = {"sure": sure, "area": area, "counted": min(max(counted, 0.3), certain - 1e-3), "certain": certain}
        row |= {"missed": float(np.mean(np.array(hits) < certain)), "nothing": float(np.mean(np.array(hits) == 0))}
        rows.append(row | {"unchanged": len(alarms), "changed": len(hits)})
        print(rows[-1], flush=True)
    best = min(rows, key=lambda row: (row["missed"], row["nothing"]))
    (OUT / "calibration.json").write_text(json.dumps(best))


def made(which: str, count: int = 220) -> None:
    """Measure pairs of a new draw, by the rules or the network."""
    if which == "network":
        install()
    check_rates.SEEDS["test"] = TEST_SEED
    path = OUT / f"made-{which}.jsonl"
    done = len(path.read_text().splitlines()) if path.exists() else 0
    for index in range(done, count):
        begun = time.process_time()
        row = check_rates.measured("test", index) | {"seconds": time.process_time() - begun}
        with path.open("a") as file:
            file.write(json.dumps(row, default=float) + "\n")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    task, *values = sys.argv[1:]
    tasks = {"make": lambda: make(int(values[0])), "made": lambda: made(values[0]), "pairs": calibration_pairs}
    tasks |= {"train": train, "export": export, "calibrate": calibrate}
    tasks[task]()
