"""Settings of Encode, Identify, Manipulate for a model that nobody tuned, found without right answers.

The model draws pictures from captions, or is shown pictures of the person's own. In the caption of each a phrase or
two are exchanged for those of another caption, and every one of `candidates` edits the picture towards that. Settings
are put in order by what the model, and other edits, say of each edit (`editors.criteria`). Of the edits by the best,

    local       whether changes that are kept to where they are strong lie nearer to the consensus
    level       of verdicts: where the shares of the change that the model sees differ least
    least share half of the median share there
    damage      half way, in logarithms, from the 98 % quantile of the residuals to that of pictures that were harmed
    strengths   how far the first pictures can be taken before that

Derived here.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Float64
from PIL import Image, ImageOps
from torch import Tensor

from latentedit.core.condition import Condition
from latentedit.core.errors import ConfigError
from latentedit.core.progress import Progress
from latentedit.core.settings import Count, Natural, settings
from latentedit.directions.hsds import HSDS
from latentedit.directions.text import embed_aligned
from latentedit.editors.eim import EIM
from latentedit.editors.judge import Judge
from latentedit.editors.local_change import local_change
from latentedit.editors.slider import Slider
from latentedit.guard.calibrated import CalibratedSettings
from latentedit.guard.calibration import Batches, check_calibrable, default_captions
from latentedit.guard.corruptions import HARMS
from latentedit.guard.criteria import (
    CRITERIA,
    Look,
    consensus_distances,
    levels_of,
    losses_at,
    rank_sums,
    smaller,
)
from latentedit.latents.captions.base import captioner_for
from latentedit.latents.captions.phrases import phrase_key, read_phrases
from latentedit.latents.drawing import draw_pictures, in_8_bits
from latentedit.latents.encode import PictureLike, encode_frames, fit_all, open_picture
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone
from latentedit.models.calibrations import SETTINGS

USUAL: Mapping[str, Any] = {
    "levels": (0.99, 0.0),
    "shift": 2.5,
    "steps": 7,
    "step_size": None,
    "noises": 2,
    "antithetic": True,
    "keep": 0.002,
    "release": 0.3,
}
"""A search that others are tried around. It was found on the bundled portraits, with right answers."""

AROUND: Mapping[str, Mapping[str, Any]] = {
    "usual": {},
    "gain 1.06": {"gain": 1.06},
    "from level 0.9": {"levels": (0.9, 0.0)},
    "from level 0.8": {"levels": (0.8, 0.0)},
    "from level 0.6": {"levels": (0.6, 0.0)},
    "even levels": {"shift": 1.0},
    "even levels from 0.8": {"levels": (0.8, 0.0), "shift": 1.0},
    "shift 4": {"shift": 4.0},
    "3 steps": {"steps": 3},
    "14 steps, one noise": {"steps": 14, "noises": 1, "antithetic": False},
    "nothing kept or let go": {"keep": 0.0, "release": 0.0},
    "nothing kept": {"keep": 0.0},
    "keep 0.01": {"keep": 0.01},
    "keep 0.03": {"keep": 0.03},
    "nothing let go": {"release": 0.0},
    "guidance 1.5, 3 steps": {"guidance": 1.5, "steps": 3},
}
"""Searches that are tried, as they differ from `USUAL`; none takes more evaluations than it."""

DEFAULT = "the library's default"
"""Tried too."""

LOCAL, NOT_LOCAL = "consensus", "consensus, not local"
"""Of changes that are kept to where they are strong, and of whole ones."""

_EDITS = 0.98
"""Share of the edits by the settings that were chosen that are not to be called damaged."""

_DAMAGE = (1.2, 10.0)
"""Ends of the residual from which an edit counts as damaged."""

_LEAST_SHARE = (0.25, 0.5)
"""Ends of the share from which an edit counts as done; a full change has about 1."""


@settings
class Search(Batches):
    """How settings are looked for; every candidate edits each picture."""

    pictures: Count = 24
    batch: Count = 4
    harmed: Natural = 1
    seed: int = 1


def candidates(model: Backbone) -> dict[str, EIM]:
    """Settings that are tried for a model, by name."""
    guided = model.capabilities.guidance_kind in ("cfg", "renormalised")
    around = [name for name, change in AROUND.items() if guided or "guidance" not in change]
    return {name: candidate(name) for name in (*around, DEFAULT)}


def candidate(name: str) -> EIM:
    """Settings that are tried, by their name."""
    return EIM() if name == DEFAULT else EIM(search=HSDS(**{**USUAL, **AROUND[name]}))


@torch.no_grad()
def calibrate_settings(
    model: Backbone,
    *,
    captions: Sequence[str] = (),
    pictures: Sequence[PictureLike] = (),
    how: Search | None = None,
    progress: Progress | None = None,
) -> CalibratedSettings:
    """Find settings of edits and verdicts for a model, without right answers; see the module.

    Args:
        model: with a picture codec.
        captions: to draw from, and to take other phrases from; those that its captioner writes by default, or general
            ones. Of ``pictures``, one each where the model has no captioner.
        pictures: to edit in the place of drawn ones, as many as there are.
        how: sizes and seed; the default ones if None.
        progress: of the batches.

    Raises:
        ConfigError: a model without pictures or fingerprint, or captions that all say the same.
        ImageError: a picture that cannot be read.

    Cost:
        Every candidate edits every picture: some thousand evaluations.
    """
    check_calibrable(model)
    how = Search() if how is None else how
    if pictures:
        how = dataclasses.replace(how, pictures=len(pictures))
    texts = list(captions) or default_captions(model, how.pictures)
    source = Source(model=model, texts=texts, pictures=tuple(pictures), captioned=bool(captions), how=how)
    rows, total = list[dict[str, Any]](), len(how.batches) + 1
    for places in how.batches:
        rows.append(looked_at(*source.batch(places), how))
        if progress is not None:
            progress(SETTINGS, len(rows), total)
    found = chosen(candidates(model), levels_of(model), rows)
    latent, target = source.batch(how.batches[0])
    strengths = _strengths(latent, target, found, seed=how.seed)
    if progress is not None:
        progress(SETTINGS, total, total)
    return dataclasses.replace(found, strengths=strengths)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Pictures and what is asked of them.

    Args:
        model: that draws them.
        texts: to draw from, and to take other phrases from.
        pictures: to look at in the place of drawn ones.
        captioned: the texts say what these show.
        how: sizes and seed.
    """

    model: Backbone
    texts: list[str]
    pictures: tuple[PictureLike, ...] = ()
    captioned: bool = False
    how: Search

    def batch(self, places: range) -> tuple[JointLatent, Condition]:
        """The pictures of a batch, and the texts that are wanted of them."""
        latent = self._given(places) if self.pictures else self._drawn(places)
        rotated = [[*self.texts[place + 1 :], *self.texts[: place + 1]] for place in self._rows(places)]
        targets = [
            exchanged(caption, others, place)
            for caption, others, place in zip(latent.captions, rotated, places, strict=True)
        ]
        return latent, embed_aligned(self.model, latent.captions, targets)

    def _rows(self, places: range) -> list[int]:
        return [place % len(self.texts) for place in places]

    def _drawn(self, places: range) -> JointLatent:
        model, captions = self.model, [self.texts[row] for row in self._rows(places)]
        pixels = in_8_bits(draw_pictures(model, captions, steps=self.how.steps, seed=self.how.seed, first=places.start))
        reader = captioner_for(model)
        said = captions if reader is None else reader.caption(pixels)
        z = model.encode(pixels)
        return JointLatent(
            backbone=model, z=z, condition=model.embed(said), captions=tuple(said), decoded=model.decode(z)
        )

    def _given(self, places: range) -> JointLatent:
        model = self.model
        images = [open_picture(self.pictures[place]).on_white() for place in places]
        frames = fit_all(model, [_square(image, model) for image in images])
        said = [self.texts[row] for row in self._rows(places)] if self.captioned else None
        return encode_frames(model, frames, caption=said)


def _square(image: Image.Image, model: Backbone) -> Image.Image:
    """The middle of a picture for a model that takes several sizes, so that all share a batch."""
    smallest, side, largest = model.capabilities.sizes
    return image if smallest == largest else ImageOps.fit(image, (side, side))


def exchanged(caption: str, others: Sequence[str], number: int) -> str:
    """The caption with one phrase exchanged for that of another caption at the same place; two of every third caption.

    Args:
        caption: what a picture shows.
        others: captions to take phrases from, the nearest first; where no phrase can be exchanged, the first that
            differs is taken whole.
        number: of the caption, from which it follows which phrase.

    Raises:
        ConfigError: all captions are the same.
    """
    found = _exchange(caption, others, number)
    if number % 3 == 2:
        found = _exchange(found, others[len(others) // 2 :], number + 1 + number // 3)
    if phrase_key(found) != phrase_key(caption):
        return found
    different = [other for other in others if phrase_key(other) != phrase_key(caption)]
    if not different:
        raise ConfigError("the captions all say the same, so there is no change to try. Give different ones")
    return different[0]


def _exchange(caption: str, others: Sequence[str], number: int) -> str:
    phrases = read_phrases(caption, lead=True).phrases
    for shift in range(len(phrases)):
        place = (number + shift) % len(phrases)
        mine = phrases[place]
        for other in others:
            theirs = read_phrases(other, lead=True).phrases
            if len(theirs) == len(phrases) and phrase_key(theirs[place].text) != phrase_key(mine.text):
                return caption[: mine.start] + theirs[place].text + caption[mine.end :]
    return caption


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tried:
    """The edits of a batch by one candidate.

    Args:
        name: of the candidate.
        z: the edited latents.
        look: at them.
        change: of the model's pixels, not kept to where it is strong.
    """

    name: str
    z: Float[Tensor, "b *latent"]
    look: Look
    change: Float[Tensor, "b 3 h w"]


def tries(
    latent: JointLatent, target: Condition, before: Float64[Tensor, "levels 2 b"], *, seed: int
) -> Iterator[Tried]:
    """Edits of a batch by every candidate, one after the other.

    Args:
        latent: decoded pictures.
        target: what is wanted of each.
        before: `losses_at` of the pictures under both texts.
        seed: of every random number.
    """
    model, texts = latent.backbone, (latent.condition, target)
    assert latent.decoded is not None
    for name, editor in candidates(model).items():
        (edited,) = editor.edit(latent, target, [1.0], seed=seed)
        look = Look.of(before, losses_at(latent, texts, edited.z, seed=seed))
        yield Tried(name=name, z=edited.z, look=look, change=model.decode(edited.z) - latent.decoded)


def looked_at(latent: JointLatent, target: Condition, how: Search) -> dict[str, Any]:
    """What is seen of a batch's edits by every candidate, and of harmed pictures, as plain values."""
    before = losses_at(latent, (latent.condition, target), latent.z, seed=how.seed)
    looks: dict[str, Look] = {}
    changes: list[Tensor] = []
    for one in tries(latent, target, before, seed=how.seed):
        looks[one.name] = one.look
        changes += [smaller(local_change(one.change)), smaller(one.change)]
    distances = consensus_distances(torch.stack(changes))
    return {
        "candidates": {
            name: {
                "own": look.own.tolist(),
                "target": look.target.tolist(),
                "margin": look.margin.tolist(),
                LOCAL: distances[2 * index].tolist(),
                NOT_LOCAL: distances[2 * index + 1].tolist(),
            }
            for index, (name, look) in enumerate(looks.items())
        },
        "harmed": _harmed(latent, before, how).tolist(),
    }


def _harmed(latent: JointLatent, before: Tensor, how: Search) -> Float[Tensor, "levels m"]:
    """Losses of harmed pictures under their own text, in those that they had."""
    assert latent.decoded is not None
    some = slice(0, how.harmed)
    found = [
        losses_at(
            latent, [latent.condition[some]], latent.backbone.encode(harm.make(latent.decoded[some])), seed=how.seed
        )
        for harm in HARMS.values()
    ]
    return torch.cat([one[:, 0] / before[:, 0, some] for one in found], dim=1)


def chosen(
    editors: Mapping[str, EIM], levels: Sequence[float], batches: Sequence[Mapping[str, Any]]
) -> CalibratedSettings:
    """The best candidate by what was seen of all batches, with the verdicts that suit it; its strengths are not known.

    Args:
        editors: the candidates, by name.
        levels: at which edits were looked at.
        batches: of `looked_at`.
    """
    rows = {
        name: {
            key: torch.cat([torch.tensor(batch["candidates"][name][key]).double() for batch in batches], dim=-1)
            for key in batches[0]["candidates"][name]
        }
        for name in editors
    }
    looks = {name: Look(own=row["own"], target=row["target"], margin=row["margin"]) for name, row in rows.items()}
    scores = {
        name: {key: float(value.mean()) for key, value in looks[name].scores.items()}
        | {key: float(rows[name][key].mean()) for key in (LOCAL, NOT_LOCAL)}
        for name in editors
    }
    sums = rank_sums({key: [one[key] for one in scores.values()] for key in CRITERIA})
    order = [name for _, _, name in sorted(zip(sums, _costs(editors), editors, strict=True))]
    best = order[0]
    harmed = torch.cat([torch.tensor(batch["harmed"]).double() for batch in batches], dim=-1)
    return CalibratedSettings(
        eim=editors[best],
        local=scores[best][LOCAL] <= scores[best][NOT_LOCAL],
        judge=suitable_judge(levels, looks[best], harmed),
        strengths=(0.0, 1.0),
        pictures=rows[best][LOCAL].shape[-1],
        evaluations=editors[best].search.evaluations(),
        tried={name: scores[name] for name in order},
    )


def _costs(editors: Mapping[str, EIM]) -> list[int]:
    return [editor.search.evaluations() for editor in editors.values()]


def suitable_judge(levels: Sequence[float], look: Look, harmed: Float[Tensor, "levels m"]) -> Judge:
    """The level at which verdicts are made, and their thresholds; see the module.

    Args:
        levels: at which edits were looked at.
        look: at edits that were chosen.
        harmed: losses of harmed pictures, in those that they had; none leaves the usual threshold of damage.
    """
    share = look.share
    middle = share.nanmedian(1).values
    spread = (share - middle[:, None]).abs().nanmedian(1).values.nan_to_num(math.inf)
    at = int(spread.argmin())
    if not bool(torch.isfinite(spread[at])):  # the model hardly tells any of the texts apart
        return Judge()
    damage = Judge().damage
    if harmed.shape[1]:
        edits, bad = float(look.residual[at].quantile(_EDITS)), float(harmed[at].median())
        damage = min(max(math.sqrt(edits * bad), _DAMAGE[0]), _DAMAGE[1])
    least = min(max(float(middle[at]) / 2, _LEAST_SHARE[0]), _LEAST_SHARE[1])
    return Judge(level=levels[at], least_share=least, damage=damage)


def _strengths(latent: JointLatent, target: Condition, found: CalibratedSettings, *, seed: int) -> tuple[float, float]:
    """The lowest and the highest strength to which all pictures can be taken undamaged."""
    editor = found.eim
    slider = Slider(
        latent=latent,
        direction=editor.direction(latent, target, seed=seed),
        arm=editor.arm,
        level=editor.level,
        steps=editor.steps,
        judge=found.judge,
        seed=seed,
    )
    known = slider.calibration()
    return known.lowest, known.highest
