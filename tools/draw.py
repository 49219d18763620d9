"""Draws the images of README.md and the pages that no page's own blocks make: ``python -m tools.draw [NAME ...]``.

Nothing was trained or chosen on the portraits and scenes that they show.
"""

import io
import json
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageEnhance

import latentedit as le
from latentedit import keep
from latentedit.editing.sheet import draw_grid
from latentedit.geometry import paths_between
from latentedit_bench.known_pairs.rounds import damaged
from latentedit_bench.ranking.summaries import CHANGES
from latentedit_bench.report.plots import COLORS
from latentedit_drawn.render import render
from latentedit_portraits.attributes import draw_split
from tools.pages import IMAGES
from tools.running import RESULTS, ROOT


def eim() -> None:
    """One image through Encode, Identify and Manipulate."""
    model, change, strengths = le.load("portraits"), "=> a red shirt", [0, 1 / 3, 2 / 3, 1]
    latent = le.encode(model, IMAGES / "me.png")
    direction = le.identify(latent, change=change)
    difference = (model.decode(latent.z + direction.z) - model.decode(latent.z))[0].permute(1, 2, 0)
    drawn = Image.fromarray((127.5 + 127.5 * difference.clamp(-1, 1)).byte().numpy())
    moved = le.Session(latent).sweep(direction, strengths=strengths)[0]
    words = [textwrap.fill(latent.captions[0], 34), f"\u201c{change}\u201d\ndirection (decoded, gray is 0)"]
    words += [f"strength {strength:.2g}" for strength in strengths]
    images = [Image.open(IMAGES / "me.png"), drawn, *(result.image for result in moved)]
    heads = ["Encode", "Identify", "Manipulate", "", "", ""]
    figure, axes = plt.subplots(1, 6, figsize=(11.4, 2.95))
    figure.subplots_adjust(left=0.01, right=0.99, top=0.91, bottom=0.3, wspace=0.08)
    for place, image, head, below in zip(axes, images, heads, words, strict=True):
        place.imshow(image.resize((256, 256), Image.Resampling.BICUBIC))
        place.set_title(head, loc="left", fontsize=13, fontweight="bold")
        place.set_xlabel(below, fontsize=8)
        place.set(xticks=[], yticks=[])
        place.spines[:].set_visible(False)
    figure.savefig(IMAGES / "eim.webp", dpi=130)


def basis() -> None:
    """The leading directions of a local basis, as far as they do no damage, and the lengths of curves."""
    model = le.load("portraits")
    me, you = IMAGES / "me.png", IMAGES / "you.png"
    found = le.discover(le.encode(model, me, source_prompt=""), rank=3)
    between = paths_between(le.encode(model, [me, you], source_prompt=""), frames=9, progress=False)
    figure = plt.figure(figsize=(10.4, 4.1), layout="constrained")
    parts: Any = figure.subfigures(1, 2, width_ratios=(1, 1.25))
    left, right = parts
    axes = left.subplots(3, 3)
    signs = ("\u2212", "the image", "+")
    for number, (row, one) in enumerate(zip(axes, found.directions, strict=True), start=1):
        span: Any = one.direction.calibration
        session = le.Session(found.basis.latent)
        moved = session.sweep(one.direction, strengths=[span.lowest, 0, span.highest])[0]
        for place, result, sign in zip(row, moved, signs, strict=True):
            place.imshow(result.image.resize((192, 192), Image.Resampling.BICUBIC))
            place.set(xticks=[], yticks=[])
            place.spines[:].set_visible(False)
            if number == 1:
                place.set_title(sign, fontsize=10)
        row[0].set_ylabel(f"$v_{number}$", fontsize=11)
    plot = right.subplots()
    for path in between.paths:
        steps = np.arange(1, len(path.speeds) + 1)
        words = f"{path.method}: length {path.length:.0f}, semantic {path.semantic_length:.2f} rad"
        plot.plot(steps, path.speeds.cpu(), "o-", markersize=4, label=words)
    plot.set(xlabel="segment, from one portrait to the other", ylabel="length in feature space", ylim=(0, None))
    plot.legend(loc="lower center", frameon=False)
    plot.spines[["top", "right"]].set_visible(False)
    figure.savefig(IMAGES / "basis.webp", dpi=130)


def half() -> None:
    """A change that comes in degrees, and one with nothing in between, at three strengths each."""
    session, strengths = le.Session(le.encode(le.load("portraits"), IMAGES / "you.png")), [0, 0.5, 1]
    (graded,) = session.sweep(change="tan skin => dark skin", strengths=strengths)
    (glasses,) = session.sweep(change="=> glasses", strengths=strengths)
    labels = ["tan", "0.5", "1: dark", "no glasses", "0.5: a ghost (off or on)", "1: glasses"]
    sheet = draw_grid([result.image for result in graded + glasses], labels, columns=3, panel_px=192)
    sheet.save(IMAGES / "half.webp", quality=90)


def _photograph() -> Image.Image:
    return Image.open(Path(mpl.get_data_path(), "sample_data", "grace_hopper.jpg")).convert("RGB")  # public domain


def _sunglasses(draw: ImageDraw.ImageDraw) -> None:
    for left in (166, 262):
        draw.rounded_rectangle((left, 172, left + 82, 224), 22, fill="#18181e")
    draw.line((248, 190, 262, 190), fill="#18181e", width=8)


def _edited(photo: Image.Image) -> Image.Image:
    """The photograph with sunglasses, by an editor that also fades, moves and zooms."""
    edited = photo.copy()
    _sunglasses(ImageDraw.Draw(edited))
    affine = (0.985, 0, 3.4, 0, 0.985, 6.2)
    edited = ImageEnhance.Color(edited).enhance(0.8)
    return edited.transform(edited.size, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)


def kept() -> None:
    """A photograph, its edit, what `keep` makes of the two, and the differences."""
    photo = _photograph()
    edited = _edited(photo)
    shown = [photo, edited, keep(photo, edited).image]
    differences = [np.abs(np.asarray(one, np.int16) - np.asarray(photo)).clip(0, 85) * 3 for one in shown[1:]]
    below = [None, *(Image.fromarray(255 - one.astype(np.uint8)) for one in differences)]
    labels = ["original", "edited", "latentedit keep", "", "edited: difference", "keep: difference"]
    sheet = draw_grid([*shown, *below], labels, columns=3, panel_px=208)
    sheet.save(IMAGES / "keep.webp", quality=88, method=6)


def five_edits() -> None:
    """A photograph, the last of five simulated edits in a row, what `keep` makes of the two, and details."""
    photo = _photograph()
    edited = photo
    for number, draw_thing in enumerate((_sunglasses, _moon, _tie, _earring, _flower)):
        wanted = edited.copy()
        draw_thing(ImageDraw.Draw(wanted))
        edited = Image.fromarray(damaged("wearing", np.asarray(wanted, np.float32), None, number)[0])
    shown = [photo, edited, keep(photo, edited).image]
    details = [one.crop((68, 392, 208, 556)) for one in shown]
    labels = ["first photograph", "the last of five edits", "keep first.png last.png", "detail", "detail", "detail"]
    sheet = draw_grid([*shown, *details], labels, columns=3, panel_px=208)
    sheet.save(IMAGES / "five-edits.webp", quality=88, method=6)


def _moon(draw: ImageDraw.ImageDraw) -> None:
    draw.ellipse((410, 50, 470, 110), fill="#f3e7b3")


def _tie(draw: ImageDraw.ImageDraw) -> None:
    draw.polygon([(216, 424), (258, 438), (300, 424), (300, 468), (258, 452), (216, 468)], fill="#2c8c7c")


def _earring(draw: ImageDraw.ImageDraw) -> None:
    draw.ellipse((160, 262, 178, 284), fill="#e2b33c")


def _flower(draw: ImageDraw.ImageDraw) -> None:
    for turn in np.linspace(0, 2 * np.pi, 5, endpoint=False):
        x, y = 126 + 15 * np.cos(turn), 432 + 15 * np.sin(turn)
        draw.ellipse((x - 13, y - 13, x + 13, y + 13), fill="#d8365a")
    draw.ellipse((117, 423, 135, 441), fill="#f2c230")


def rounds() -> None:
    """PSNR of what nobody asked to change after each of eight edits, from research/results/keep/rounds.json."""
    found = json.loads((RESULTS / "keep" / "rounds.json").read_text(encoding="utf-8"))["after"]
    ways = {
        "given back": ("keep, its result edited again", "#1f6f43"),
        "neighbors": ("keep, from neighbor to neighbor", "#7a5ea8"),
        "first and last": ("keep, the first and the last image", "#2b6cb0"),
        "sift": ("SIFT alignment, threshold, paste", "#b07a1e"),
        "editor": ("the editor alone", "#b33"),
    }
    figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    for method, (name, color) in ways.items():
        values = [one["db"] for one in found if one["method"] == method and one["editor"] == "all"]
        means, lows, highs = ([one[key] for one in values] for key in ("mean", "low", "high"))
        steps = range(1, len(means) + 1)
        axes.fill_between(steps, lows, highs, color=color, alpha=0.12, linewidth=0)
        axes.plot(steps, means, "o-", color=color, markersize=3, label=name)
    axes.set(xlabel="edits in a row", ylabel="PSNR of the rest / dB", xticks=range(1, 9), ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower left", ncols=2)
    figure.savefig(IMAGES / "rounds.webp", dpi=150)


def evaluations() -> None:
    """Error above the codec against network evaluations, from research/results/benchmark/evaluations/*.csv."""
    for data in ("portraits", "scenes"):
        path = RESULTS / "benchmark" / "evaluations" / f"{data}.csv"
        if not path.exists():
            continue
        items: Any = pd.read_csv(path)
        figure, axes = plt.subplots(1, 2, figsize=(8.2, 3.6), layout="constrained", sharex=True)
        for axis, (part, kinds) in zip(axes, CHANGES.items(), strict=True):
            some = items[items["kind"].isin(kinds)]
            for color, (method, rows) in zip(COLORS, some.groupby("method"), strict=False):
                line, width = rows.groupby("evaluations")["above"].mean(), 2.5 if method == "eim" else 1
                axis.plot(line.index, line, "o-", color=color, linewidth=width, markersize=3, label=method)
            axis.set(title=f"{part}, {some['item'].nunique()} items", xlabel="network evaluations", ylim=(0, None))
            axis.set_xscale("log", base=2)
            axis.xaxis.set_major_formatter("{x:.0f}")
            axis.spines[["top", "right"]].set_visible(False)
        axes[0].set_ylabel("error above the codec")
        axes[1].legend(frameon=False)
        figure.savefig(IMAGES / "results" / "benchmark" / f"evaluations-{data}.webp", dpi=150)


def formats() -> None:
    """PSNR after each of 30 rounds of saving and opening, from research/results/keep/formats.json."""
    found = json.loads((RESULTS / "keep" / "formats.json").read_text(encoding="utf-8"))["formats"]
    lossy = sorted((one for one in found if one["db by round"][0] < 99), key=lambda one: -one["db by round"][-1])
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    room, heights = 0.8, list[float]()  # dB that a label takes
    for one in lossy:
        last = one["db by round"][-1]
        heights.append(min(last, heights[-1] - room) if heights else last)
    for number, (one, height) in enumerate(zip(lossy, heights, strict=True)):
        color, decibels, name = f"C{number % 10}", one["db by round"], one["format"].replace("`", "")
        axes.plot(range(1, 31), decibels, color=color, linewidth=1.2, linestyle="-" if number < 10 else "--")
        axes.annotate(name, (30, decibels[-1]), xytext=(31.5, height), color=color, fontsize=7, va="center")
    axes.set(xlabel="rounds of saving and opening", ylabel="PSNR / dB", xticks=(1, 10, 20, 30), xlim=(1, 40))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(IMAGES / "formats.webp", dpi=150)


def portraits() -> None:
    """The portraits that the pages edit: the first that have hair, and neither glasses nor a beard."""
    drawn = draw_split("test", 50, seed=3)
    plain = [one for one in drawn if (one.accessory, one.facial_hair) == ("none", "none") and one.hair != "bald"]
    names = ("me", "you", "portraits/anna", "portraits/ben", "portraits/cleo", "portraits/dan")
    for name, portrait in zip(names, plain, strict=False):
        render(portrait).save(IMAGES / f"{name}.png")


_STROKE = [
    (0.33, 0.33),
    (0.42, 0.33),
    (0.46, 0.34),
]  # over a part of the example's first change, in shares of the sides


def page() -> None:
    """The page's example, and an edit of a portrait, in the Chromium that the tests use."""
    from latentedit.page.models import Models  # noqa: PLC0415
    from latentedit.page.serve import serving  # noqa: PLC0415
    from tests.browser import open_browser  # noqa: PLC0415 (need a browser, and the page's packages)

    def shot(name: str) -> None:
        tab.page.wait_for_timeout(1000)  # wait for animations
        Image.open(io.BytesIO(tab.page.screenshot())).save(IMAGES / name, quality=88, method=6)

    with tempfile.TemporaryDirectory() as home, open_browser() as tab:
        tab.page.set_default_timeout(120_000)
        tab.page.set_viewport_size({"width": 1240, "height": 900})
        with serving(Path(home)) as address:
            with tab.page.expect_response("**/run/predict"):
                tab.page.goto(address)
            tab.page.frame_locator("#le-kept iframe").locator(".mark").first.wait_for()
            shot("check/page.webp")
            tab.page.get_by_role("tab", name="Choose and restore").click()
            box = tab.page.locator("#le-brush canvas").bounding_box()
            assert box is not None
            for number, (x, y) in enumerate(_STROKE):
                tab.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
                if not number:
                    tab.page.mouse.down()
            tab.page.mouse.up()
            tab.page.wait_for_timeout(3000)  # wait for the result
            shot("check/brush.webp")
        with serving(Path(home), Models(le.load("portraits"))) as address:
            with tab.page.expect_response("**/run/predict"):
                tab.page.goto(address)
            tab.page.get_by_role("tab", name="Edit", exact=True).click()
            tab.page.locator("#le-examples button").first.click()
            tab.page.wait_for_selector("#le-preview img")
            tab.page.get_by_label("What to change").fill("a sad mouth => a smile")
            tab.page.locator("#le-edit").click()
            tab.page.frame_locator("#le-result iframe").locator(".verdict").wait_for()
            tab.page.evaluate("scrollTo(0, 0)")
            shot("page.png")


def example() -> None:
    """The page's example: the photograph, and an edit that also takes the name tag away."""
    photo, folder = _photograph(), ROOT / "src" / "latentedit" / "page" / "example"
    plain = photo.copy()
    plain.paste(photo.crop((80, 528, 170, 564)), (78, 482))
    photo.save(folder / "photograph.jpg", quality=92, subsampling=0)
    _edited(plain).save(folder / "edited.jpg", quality=88)


def button() -> None:
    """The pair of the pages on `keep`: a red button, and what nobody asked for; and a mask of the button."""
    photo = Image.open(IMAGES / "photo.jpg").convert("RGB")
    edited = photo.copy()
    draw = ImageDraw.Draw(edited)
    draw.ellipse((60, 420, 180, 540), fill=(200, 40, 60))
    draw.ellipse((400, 60, 430, 90), fill=(250, 250, 240))
    edited = ImageEnhance.Color(edited).enhance(0.85)
    moved = (0.985, 0, 3.4, 0, 0.985, 6.2)
    edited = edited.transform(edited.size, Image.Transform.AFFINE, moved, Image.Resampling.BICUBIC)
    edited.resize((544, 640), Image.Resampling.LANCZOS).save(IMAGES / "edited.jpg", quality=85)
    mask = Image.new("L", photo.size)
    ImageDraw.Draw(mask).rectangle((40, 400, 200, 560), fill=255)
    mask.save(IMAGES / "mask.png")


def scenes() -> None:
    """Ten changes of one scene, each with its right answer and where it shows: the change and its side effects."""
    from latentedit_scenes import attributes, domain, masks, parameters  # noqa: PLC0415

    scene = next(one for one in attributes.draw_split("test", 200, 3) if len(one.places()) == 3).replace(
        middle_shape="ball", middle_color="red", middle_material="rubber", middle_size="large", lamp_side="right",
        left_material="metal", floor_texture="plain", wall_color="gray", camera="high", time="day",
    )  # fmt: skip
    changes = [{"middle_shape": "cone"}, {"middle_color": "yellow"}, {"middle_material": "metal"}]
    changes += [{"middle_size": "small"}, {"middle_shape": attributes.NONE}, {"floor_texture": "striped"}]
    changes += [{"wall_color": "blue"}, {"lamp_side": "left"}, {"camera": "low"}]
    changes += [{"left_material": "plastic", "time": "night"}]
    images, labels = list[Image.Image](), list[str]()
    for change in changes:
        answer = domain.SCENES.change(scene, change)
        before, after = (domain.SCENES.render_at(one, 144) for one in (scene, answer))
        changed = masks.changed_pixels(parameters.parameters_of(scene), parameters.parameters_of(answer), 144)
        shown = after.mean(axis=2, keepdims=True).repeat(3, axis=2)
        side_effects = domain.SCENES.side_effects(scene, answer, before, after)
        for mask, tint in ((changed, (230, 40, 40)), (side_effects, (30, 170, 60))):
            shown[mask] = 0.5 * shown[mask] + 0.5 * np.array(tint)
        images += [Image.fromarray(one.astype(np.uint8)) for one in (before, after, shown)]
        text = ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in change.items())
        labels += [textwrap.fill(text, 18), "", ""]
    sheet = draw_grid(images, labels, columns=6, panel_px=144)
    sheet.save(IMAGES / "rendered" / "changes.webp", quality=88)


DRAWN = {
    drawing.__name__: drawing
    for drawing in (
        eim,
        basis,
        half,
        kept,
        five_edits,
        rounds,
        evaluations,
        formats,
        portraits,
        page,
        example,
        button,
        scenes,
    )
}

if __name__ == "__main__":
    for chosen in sys.argv[1:] or DRAWN:
        DRAWN[chosen]()
