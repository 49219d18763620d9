"""Quality of a trained model: codec, classifier, and adherence to captions."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL

from latentedit import load
from latentedit.calibration import draw_images
from latentedit_portraits.classifiers import AttributeClassifier, to_pixels
from latentedit_portraits.domains import AttributeDomain, SceneAttributes
from latentedit_scenes.attributes import PARTS
from latentedit_scenes.attributes import Attributes as Scene
from latentedit_scenes.domain import SCENES
from research.training.codec import reconstruction_psnr_db
from research.training.data import SEED, render_test_split
from research.training.loop import Trainer

# Numbers of test renders and of sampled captions, and the batch size of sampling.
_RENDERS, _SAMPLES, _BATCH = 500, 200, 25


def measure_quality(
    folder: Path, domain: AttributeDomain, reader: AttributeClassifier, trainer: Trainer
) -> dict[str, dict[str, float]]:
    """The figures of the model card, all on the test split: PSNR in dB, and shares as `agreement` has them.

    Args:
        folder: the model's folder.
        domain: the domain of its training images.
        reader: the classifier of that domain.
        trainer: caches renders and reports progress.
    """
    model = load(folder)
    codec = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32).eval()
    images, shown = render_test_split(domain, _RENDERS, trainer)
    psnr, pixels = reconstruction_psnr_db(codec, images), to_pixels(images)
    with torch.no_grad():
        decoded = torch.cat([model.decode(model.encode(chunk)) for chunk in pixels.to(model.device).split(50)])
    expected, found = domain.draw("test", _SAMPLES, SEED + 1), list[Any]()
    for start in range(0, len(expected), _BATCH):
        captions = [domain.grammar.full_caption(scene) for scene in expected[start : start + _BATCH]]
        found += reader.attributes(draw_images(model, captions, seed=start))
        trainer.report_progress("adherence", len(found), len(expected))
    figures = {
        f"VAE PSNR on {len(psnr)} test renders, dB": {
            "mean": round(statistics.mean(psnr), 2),
            "median": round(statistics.median(psnr), 2),
            "lowest": round(min(psnr), 2),
        },
        f"reader accuracy on {len(shown)} test renders": agreement(reader.attributes(pixels), shown),
        f"reader accuracy on {len(shown)} VAE reconstructions": agreement(reader.attributes(decoded), shown),
    }
    for name, novel in (("test captions", False), ("captions with held-out combinations", True)):
        pairs = [pair for pair in zip(found, expected, strict=True) if (domain is SCENES and pair[1].novel) == novel]
        if pairs:
            figures[f"text adherence, {len(pairs)} {name}"] = agreement(*zip(*pairs, strict=True))
    return figures


def agreement(found: Sequence[SceneAttributes], expected: Sequence[SceneAttributes]) -> dict[str, float]:
    """Agreement of classified scenes with the expected ones: shares in [0, 1].

    Returns:
        The share of correct images per attribute, and the mean of these; for scenes with objects also

        - "counting": images with the right number of objects.
        - "places": images with objects at the right places.
        - "binding": objects with all their own parts at their place, in images that should have several objects.
    """
    pairs = list(zip(found, expected, strict=True))
    shares = {name: _share([getattr(a, name) == getattr(b, name) for a, b in pairs]) for name in expected[0].values}
    shares = {"mean": round(statistics.mean(shares.values()), 4)} | shares
    objects = [(a, b) for a, b in pairs if isinstance(a, Scene) and isinstance(b, Scene)]
    if not objects:
        return shares
    return shares | {
        "counting": _share([len(a.places()) == len(b.places()) for a, b in objects]),
        "places": _share([a.places() == b.places() for a, b in objects]),
        "binding": _share(
            [
                all(a.object_at(place)[part] == b.object_at(place)[part] for part in PARTS)
                for a, b in objects
                if len(b.places()) > 1
                for place in b.places()
            ]
        ),
    }


def _share(right: Sequence[bool]) -> float:
    return round(sum(right) / len(right), 4) if right else float("nan")
