"""The model's floor: how well a model redraws images that it generated itself, from each noise level.

With x the latent of an image, c its caption, D the decoder and R the denoising under c from level s down to 0::

    z_i = (1 - s) x + s e_i,  e_2 = -e_1;    x' = mean_i R(z_i, s);    error(s) = |D(x') - image|^2

Every editor that restarts from level s, and every refinement (`editors.refinement`), has this error at least.
"""

import torch
from torch import Tensor

from latentedit.core.flow import uniform_grid
from latentedit.core.rng import draw
from latentedit.core.solvers import EulerSolver, integrate
from latentedit.guard.calibration import default_captions
from latentedit.latents.drawing import draw_images, in_8_bits
from latentedit_bench.experiments.declare import Images, Lines, Measure, Rows, Study, experiment
from latentedit_bench.metrics.images import mean_square, psnr_db

_LOST = Measure(
    name="PSNR of the codec alone minus that of the image redrawn from level 0.5",
    column="lost_db",
    where={"level": 0.5},
    unit="dB",
)


@experiment(
    "model-floor",
    paper="latentedit: a limit of every editor that restarts from a noise level",
    claim="redrawing its own images from level 0.5 costs a model more than its codec does",
    source=Images(images=16, levels=(0.95, 0.8, 0.65, 0.5, 0.3), twins=False),
    primary=_LOST,
    secondary=(_LOST.variant("PSNR of the image redrawn from level 0.5", column="psnr_db"),),
    plots=(Lines(y="psnr_db", label="PSNR of redrawn images / dB", null="codec_db"),),
    quick={"images": 4, "levels": (0.95, 0.5)},
)
@torch.no_grad()
def model_floor(study: Study, image: int, *, steps: int = 8) -> Rows:
    """The model draws each image from a caption, adds noise up to a level, and removes it in even steps.

    There is no guidance. The redrawn latent is the mean over a noise and its opposite. The codec's error is contained
    in every other one.
    """
    model, known = study.backbone, study.backbone.capabilities
    captions = study.texts or default_captions(model, len(study))
    caption = [captions[image % len(captions)]]
    drawn = in_8_bits(draw_images(model, caption, seed=study.seed, first=image))
    z, text = model.encode(drawn), model.embed(2 * caption)
    noise = draw(z.shape[1:], seed=study.seed, purpose="floor", index=image).to(z)

    def psnr(clean: Tensor) -> float:
        return float(psnr_db(mean_square(in_8_bits(model.decode(clean).clamp(-1, 1)), drawn)))

    codec = psnr(z)
    for level in study.levels:
        noised = (1 - level) * z + level * torch.stack([noise, -noise])
        pair = integrate(
            lambda at, s: model.velocity(at, s.clamp(known.s_min, known.s_max), text),
            noised,
            uniform_grid(steps, start=level).levels,
            EulerSolver(),
        )
        redrawn = psnr(pair.mean(0, keepdim=True))
        yield {"level": level, "psnr_db": redrawn, "codec_db": codec, "lost_db": codec - redrawn}
