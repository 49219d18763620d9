"""Two models that nothing was tuned on: what guard and calibration are worth on them.

    python benchmarks/held_out.py [--experiment unknown-pictures] [--quick]

``undertrained`` is the transformer of `portraits` after a tenth of its steps. ``narrow`` is a U-Net of two thirds the
width of `portraits-unet`, which predicts v at Stable Diffusion's own levels and never saw an empty caption, so that
guidance does not suit it. Both are trained from nothing, on the codec of `portraits`, into out/held-out: ten to forty
minutes on two cores. What each of them draws of what captions say is measured, its guard is calibrated on what it draws
itself, and experiments of ``latentedit reproduce`` run on both by the plans and bars of the bundled models, into
results/held-out. What was stopped goes on.
"""

import argparse
import os
import statistics
from collections.abc import Callable
from pathlib import Path

from diffusers import DDIMScheduler
from results import RESULTS, command

from latentedit.api.calibrate import calibrate_guard, keep_calibration
from latentedit.core.progress import Progress
from latentedit.models.loading import open_folder
from latentedit.models.placement import existing_device
from latentedit.models.registry import bundled_folder, load
from latentedit.models.settings_file import read_settings, write_settings
from latentedit_bench.experiments.run import reproduce
from latentedit_bench.experiments.truth_free import TruthFree
from latentedit_bench.experiments.unknown_pictures import UnknownPictures
from latentedit_keep.console import progress_bar
from latentedit_portraits import train, train_unet
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.captions import CaptionStyle
from latentedit_portraits.dataset import Renders, render_split
from latentedit_portraits.fitting import FitSettings, Training
from latentedit_portraits.quality import adherence
from latentedit_portraits.reader import PortraitReader
from latentedit_portraits.tokenizer import build_tokenizer
from latentedit_portraits.transformer import CaptionBatches, build_text_to_velocity, fit_text, fit_transformer
from latentedit_portraits.unet import build_text_to_noise, fit_unet

OUT = Path("out/held-out")
SEED = 1
PICTURES = 8_000
SAMPLES = 100

WORDS = FitSettings(steps=1_200, batch=64, learning_rate=1e-3, warm_up=100)
SHORT = FitSettings(steps=270, batch=32, learning_rate=1e-3, warm_up=60, decay_share=0.4, average=0.99)
NARROW = FitSettings(steps=1_500, batch=32, learning_rate=1e-3, warm_up=60, decay_share=0.4, average=0.995)

EXPERIMENTS = {experiment.name: experiment for experiment in (UnknownPictures, TruthFree)}


def main() -> None:
    """Train what is missing, then run the experiments."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--experiment", action="append", choices=EXPERIMENTS, help="repeatable; all by default")
    options.add_argument("--quick", action="store_true", help="by the smaller plans")
    chosen = options.parse_args()
    os.chdir(RESULTS.parent)
    with progress_bar() as progress:
        folders = [trained(name, make, progress) for name, make in MODELS.items()]
        models = tuple(map(str, folders))
        asked = [EXPERIMENTS[name](models=models) for name in chosen.experiment or EXPERIMENTS]
        reproduce(asked, RESULTS / "held-out", command=command(), quick=chosen.quick, progress=progress)


def trained(name: str, make: Callable[[Training, Renders, Path], None], progress: Progress | None) -> Path:
    """The folder of a model: trained, measured and with a guard, unless it is there already."""
    folder = OUT / name
    if "calibration" not in (read_settings(folder) if folder.is_dir() else {}):
        renders = render_split(OUT, "train", PICTURES, seed=SEED, framed=True)
        run = Training(folder=OUT / "training" / name, device=existing_device(None), progress=progress)
        run.folder.mkdir(parents=True, exist_ok=True)
        make(run, renders, folder)
        model, wanted = load(folder), draw_split("test", SAMPLES, seed=1)
        drawn = statistics.mean(adherence(model, PortraitReader.bundled(), wanted, progress=progress).values())
        write_settings(folder, {"quality": {f"text adherence, {SAMPLES} test captions": {"mean": round(drawn, 4)}}})
        keep_calibration(model, guard=calibrate_guard(model, progress=progress), folder=folder)
    return folder


def undertrained(run: Training, renders: Renders, folder: Path) -> None:
    """`portraits` after few steps."""
    parent = open_folder(bundled_folder("portraits"))
    latents = train_unet.encode_latents(load(parent.path, device=run.device), renders, run)
    tokenizer = build_tokenizer()
    network = build_text_to_velocity(tokenizer, SEED).to(run.device)
    captions = CaptionBatches(tokenizer, renders.attributes, run.device)
    fit_text(network, captions, WORDS, run)
    fit_transformer(network, captions, latents, SHORT, run)
    train.assemble(folder, parent.load("vae"), network, PortraitReader.from_folder(parent.path))


def narrow(run: Training, renders: Renders, folder: Path) -> None:
    """A U-Net with other widths, levels and prediction, and without guidance."""
    parent = open_folder(bundled_folder("portraits"))
    latents = train_unet.encode_latents(load(parent.path, device=run.device), renders, run)
    network = build_text_to_noise(parent.load("text_encoder_2"), SEED, widths=(64, 128, 192)).to(run.device)
    captions = CaptionBatches(build_tokenizer(), renders.attributes, run.device)
    scheduler = DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing",
        prediction_type="v_prediction",
    )
    fit_unet(network, captions, latents, NARROW, run, scheduler=scheduler, style=CaptionStyle(empty=0.0))
    train_unet.assemble(folder, train_unet.with_folded_shift(parent.load("vae")), network, scheduler)
    write_settings(folder, {"guidance": 1.0})


MODELS = {"undertrained": undertrained, "narrow": narrow}


if __name__ == "__main__":
    main()
