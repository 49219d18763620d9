"""Undo: how near the picture before an edit one comes back to.

Pairs of first_edit.py through the public verbs, 8-bit pictures throughout, PSNR over all pixels of the picture.

    joint latent     the direction, then its negative, on the joint latent in memory (`EditResult.latent`)
    written PNG      from what the file carries: the joint latent in half precision, and the few levels that it misses
    latent alone     from the joint latent of the file, without those levels
    pixels           from the pixels of the written PNG and the direction: the fixed point of `latentedit.api.undo`
    pixels, negated  from the same, by applying the negative direction
    pixels, by text  from the pixels alone: a new search from the target caption back to the source caption

    python benchmarks/undo.py       writes results/undo.{json,md} from the test split
"""

import argparse
import math
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from edit_errors import Watch, interval, save, table
from edit_pairs import draw_pairs
from PIL import Image

import latentedit as le
from latentedit.api.outputs import write_result
from latentedit.api.undo import undo_direction, undo_stored
from latentedit.core.files.png_chunks import read_chunks
from latentedit.core.files.tensors import pack, unpack
from latentedit.latents.pictures import Picture
from latentedit_portraits.captions import full_caption
from latentedit_portraits.render import render

BARS = {"joint latent": 40.0, "written PNG": 40.0, "latent alone": 40.0, "pixels": 30.0}
PUBLISHED_DB = 27.42
BEST_DB = 100.0


def psnr(first: Image.Image, second: Image.Image) -> float:
    """Over all pixels and channels, in dB; `BEST_DB` where they are identical."""
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    error = float(np.mean((difference / 255) ** 2))
    return -10 * math.log10(error) if error else BEST_DB


def without_missed(payload: bytes) -> bytes:
    """What a file carries, less what its latent misses."""
    tensors, about = unpack(payload, "a payload", allowed=("start", "moved", "missed"))
    return pack({name: tensors[name] for name in ("start", "moved")}, about)


def one(result: object) -> le.EditResult:
    """A single result."""
    assert isinstance(result, le.EditResult)
    return result


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=int, default=20, help="six changes each")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="of the network")
    arguments = parser.parse_args()
    model = le.load("portraits", dtype=getattr(torch, arguments.dtype))
    watch, before = Watch(model), model.evaluations
    pairs = draw_pairs("test", arguments.portraits, seed=7)
    found: dict[str, list[float]] = {"the edit itself": []}
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "edited.png"
        for number, pair in enumerate(pairs):
            source, (caption, target) = render(pair.source), (full_caption(pair.source), full_caption(pair.truth))
            direction = le.identify(latent := le.encode(model, source, caption=caption), to=target)
            edited = one(le.manipulate(latent, direction))
            write_result(edited, written)
            picture, (_, payload) = Picture.open(written), read_chunks(written)
            assert payload is not None
            again = le.encode(model, picture, caption=target)
            ways = {
                "the edit itself": edited.image,
                "joint latent": one(le.manipulate(edited.latent, direction, strength=-1)).image,
                "written PNG": undo_stored(model, picture, payload).image,
                "latent alone": undo_stored(model, picture, without_missed(payload)).image,
                "pixels": undo_direction(model, picture, direction).image,
                "pixels, negated": one(le.manipulate(again, direction, strength=-1)).image,
                "pixels, by text": one(le.manipulate(again, le.identify(again, to=caption))).image,
            }
            for name, image in ways.items():
                found.setdefault(name, []).append(psnr(source, image))
            if number % 12 == 11:
                watch(f"{number + 1} of {len(pairs)} pairs")
    median = {name: interval(lambda rows: float(np.median(rows)), np.array(values)) for name, values in found.items()}
    lowest = {name: float(np.min(values)) for name, values in found.items()}
    content = {
        "command": " ".join(["python", "benchmarks/undo.py", *sys.argv[1:]]),
        "model": model.fingerprint,
        "dtype": arguments.dtype,
        "pairs": len(pairs),
        "evaluations": model.evaluations - before,
        "seconds": watch.seconds,
        "median_psnr_db": median,
        "lowest_psnr_db": lowest,
        "identical": {name: float(np.mean(np.array(values) == BEST_DB)) for name, values in found.items()},
        "bars_db": BARS,
    }
    rows = [
        [
            name,
            "identical"
            if value["mean"] == BEST_DB
            else f"{value['mean']:.1f} [{value['low']:.1f}, {value['high']:.1f}]",
            "identical" if lowest[name] == BEST_DB else f"{lowest[name]:.1f}",
            f"{content['identical'][name]:.2f}",
            "" if name not in BARS else f"{BARS[name]:.0f}: {'holds' if value['mean'] >= BARS[name] else 'FAILS'}",
        ]
        for name, value in median.items()
    ]
    lines = table(["way back", "PSNR to the source, median dB", "lowest", "bit for bit", "bar"], rows)
    lines.append(f"The best published figure, undoing by text on photographs with another model: {PUBLISHED_DB} dB.")
    save("undo", content, lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
