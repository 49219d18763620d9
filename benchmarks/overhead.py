"""What an edit costs beyond the network: wall time against evaluations x one forward + encode + decode, in one run.

python benchmarks/overhead.py
"""

import statistics
import time
from collections.abc import Callable

import torch

import latentedit
from latentedit.editors.registry import make_editor
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit_portraits.attributes import draw_split
from latentedit_portraits.captions import full_caption
from latentedit_portraits.render import render

REPEATS = 5


def median_seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median wall time of some calls, after one that does not count."""
    work()
    times: list[float] = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def parts(model: Backbone, latent: JointLatent) -> tuple[float, float, float]:
    """Seconds of one batched forward of two branches, an encode and a decode."""
    z, s = latent.z.repeat(2, 1, 1, 1), torch.full((2,), 0.7)
    both = latent.condition.repeat(2)
    assert latent.frames
    pixels = torch.stack([frame.pixels for frame in latent.frames])
    forward = median_seconds(lambda: model.velocity(z, s, both), 20) / 2
    return forward, median_seconds(lambda: model.encode(pixels)), median_seconds(lambda: model.decode(latent.z))


@torch.no_grad()
def main() -> None:
    """Print the ratios."""
    model = latentedit.load("portraits", device="cpu")
    portrait = next(item for item in draw_split("test", 50, seed=3) if item.accessory == "none")
    picture, caption = render(portrait), full_caption(portrait)
    target = full_caption(portrait.replace(accessory="glasses"))
    latent = latentedit.encode(model, picture, caption=caption)
    forward, encode, decode = parts(model, latent)
    times = f"forward {1e3 * forward:.1f} (an element of 2), encode {1e3 * encode:.1f}, decode {1e3 * decode:.1f}"
    print(f"milliseconds: {times}")
    for name in ("eim", "flowedit", "aligned-inversion", "sdedit"):
        evaluations = make_editor(name, model).evaluations(latent)
        whole = median_seconds(
            lambda name=name: latentedit.edit(model, picture, to=target, caption=caption, method=name)
        )
        least = evaluations * forward + encode + decode
        print(f"{name:<20}{evaluations:>4} evaluations  {whole:.3f} s, {whole / least:.3f} x the parts")


if __name__ == "__main__":
    main()
