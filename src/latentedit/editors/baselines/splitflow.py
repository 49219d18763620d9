"""SplitFlow: FlowEdit towards several sub-targets at once, joined at a high level, then towards the full target."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from latentedit.core.errors import ConfigError, ShapeError
from latentedit.core.setting import Count, Guidance, Until, settings
from latentedit.editors.base import Editor
from latentedit.editors.baselines.walks import PairedWalk
from latentedit.editors.edit import Edit, Latents
from latentedit.encoding.captions.change import Caption, phrase_key
from latentedit.encoding.encode import embed_targets
from latentedit.numerics.condition import Condition
from latentedit.numerics.flow import level_batch


@settings
class SplitFlow(PairedWalk):
    """SplitFlow: FlowEdit towards several sub-targets at once, joined at a high level, then towards the full target.

    Above ``until`` one FlowEdit for each sub-target and one for the target; then one of them all, see below.
    Every flow has noises of its own, ``noises`` of them. The first level that is not above ``until`` starts from
    `projected` of the flows towards sub-targets on that towards the target, and takes the `agreeing_mean` of the
    differences of velocities towards sub-targets. What is left is FlowEdit towards the target.

    Sub-targets are captions: the image's with some of the changed phrases exchanged in each (`partial_targets`); the
    paper has a language model write them. Embedded texts without captions have sub-targets evenly between the two, the
    last of them being the target. Both are ours, as is the strength, which scales every difference of velocities.

    Args:
        until: flows are apart at levels above this one.
        captions: of the sub-targets, as many for each image, or once for all; by themselves where there are none.
        parts: how many sub-targets there are without captions.

    Raises:
        ConfigError: images with other numbers of sub-targets than one another.
        ShapeError: from ``edit``: captions for another number of images.

    Source:
        Yoon et al. 2025, arXiv 2510.25970, in the form of its code for SD3: three sub-targets, steps 33 to 28 of 50
        apart, weights 3.5 and 13.5. FlowEdit: Kulikov et al. 2024, arXiv 2412.08629.
    """

    name: ClassVar[str] = "splitflow"

    until: Until = 0.8
    captions: tuple[tuple[str, ...], ...] = ()
    parts: Count = 3
    source_guidance: Guidance = 1.0
    target_guidance: Guidance = 2.0

    def __post_init__(self) -> None:
        PairedWalk.__post_init__(self)
        if len({len(texts) for texts in self.captions}) > 1 or not all(self.captions):
            raise ConfigError("every image needs the same number of captions, at least one")

    @property
    def keeps_equal_texts(self) -> bool:
        """Equal weights without captions make all branches the same call; up to rounding, for the projection."""
        return self.source_guidance == self.target_guidance and not self.captions

    def for_captions(self, sources: Sequence[str], targets: Sequence[str]) -> Editor:
        """The editor with sub-targets made of the phrases that differ, unless there are some."""
        if self.captions:
            return self
        pairs = zip(sources, targets, strict=True)
        captions = tuple(partial_targets(source, target, self.parts) for source, target in pairs)
        return dataclasses.replace(self, captions=captions)

    def move(self, edit: Edit) -> Latents:
        x, subs, until = edit.x, self._subtargets(edit), edit.latent.level(self.steps, self.until)
        flows, delta = torch.zeros_like(x).expand(len(subs) + 1, *x.shape), None
        for index, s, s_next in edit.steps(edit.path(self.steps, self.level, self.shift).levels):
            step = edit.strength * (s_next - s)
            if s > until:
                flows = flows + step * self._differences(edit, [*subs, edit.target], flows, s, index)
                continue
            # Joined at the first level that is not above `until`; a flow that starts there has nothing to join.
            if delta is None:
                delta = _joined(x, flows) if index else flows[-1]
                texts, at = subs, delta.expand(len(subs), *delta.shape)
            else:
                texts, at = [edit.target], delta[None]
            delta = delta + step * agreeing_mean(self._differences(edit, texts, at, s, index))
        return x + (_joined(x, flows) if delta is None else delta)

    def _subtargets(self, edit: Edit) -> list[Condition]:
        if not self.captions:
            source = edit.latent.condition
            shares = [part / self.parts for part in range(1, self.parts + 1)]
            return [source + share * (edit.target - source) for share in shares]
        count = len(edit.latent)
        captions = self.captions * count if len(self.captions) == 1 else self.captions
        if len(captions) != count:
            raise ShapeError(f"{count} images need one set of sub-targets each; got {len(captions)}")
        return [embed_targets(edit.latent, texts) for texts in zip(*captions, strict=True)]

    def _differences(
        self, edit: Edit, texts: Sequence[Condition], delta: Float[Tensor, "n b *latent"], s: float, index: int
    ) -> Float[Tensor, "n b *latent"]:
        """``v(a + delta_i, s, c_i) - v(a, s, c0)`` of every flow, ``a = (1 - s) x + s e_i``."""
        x, count, times = edit.x, len(texts), self.noises
        flows = dataclasses.replace(edit, latent=edit.latent.repeat(count), target=Condition.cat(texts))
        source, target = flows.two_fields(self.source_guidance, self.target_guidance, times=times)
        noise = self.drawn(edit, "flowedit", index=index, each=count)
        a = ((1 - s) * x + s * noise).flatten(0, 1)
        b = a + delta.flatten(0, 1).repeat(times, *[1] * (x.ndim - 1))
        at = level_batch(s, a)
        dv = target(b, at) - edit.at_image(index, source, a, at)
        return dv.unflatten(0, (times, count, len(x))).mean(0)


def partial_targets(source: str, target: str, parts: int) -> tuple[str, ...]:
    """Captions part of the way from source to target, which together make every change of phrases at least once.

    The k-th phrase that the target lacks is exchanged for the k-th that it adds. If the two differ in more than their
    phrases, or not at all, every part is the target.

    Example:
        >>> partial_targets("a man with red hair, a hat", "a man with gray hair, glasses, a hat", 2)
        ('a man with gray hair, a hat', 'a man with red hair, a hat, glasses')
    """
    before, after = Caption.of(source), Caption.of(target)
    old, new = ([phrase.text for phrase in read.phrases] for read in (before, after))
    kept = {phrase_key(text) for text in old} & {phrase_key(text) for text in new}
    lost, added = ([text for text in texts if phrase_key(text) not in kept] for texts in (old, new))
    count = max(len(lost), len(added))
    # Phrases can be exchanged one by one only inside the same frame of words.
    if not count or (before.lead, before.ending) != (after.lead, after.ending):
        return (target,) * parts
    targets: list[str] = []
    for part in range(parts):
        # Together the parts make every change: with more changes than parts each makes every n-th, with fewer some
        # repeat.
        chosen = range(part, count, parts) if count > parts else [part % count]
        exchanged = {lost[index]: added[index] if index < len(added) else "" for index in chosen if index < len(lost)}
        # Phrases that only the target has, beyond replacements, come last, as in `align_captions`.
        more = [added[index] for index in chosen if index >= len(lost)]
        texts = [text for text in (*(exchanged.get(text, text) for text in old), *more) if text]
        targets.append(f"{before.lead} {', '.join(texts)}".strip() + before.ending)
    return tuple(targets)


def _joined(x: Latents, flows: Float[Tensor, "n b *latent"]) -> Latents:
    return projected_onto(x + flows[:-1], x + flows[-1]) - x


def projected_onto(
    parts: Float[Tensor, "n b c *place"], target: Float[Tensor, "b c *place"]
) -> Float[Tensor, "b c *place"]:
    """``mean_i <y_i, u> u`` with u the unit vector of ``target`` over the channels, pixel by pixel (2510.25970)."""
    unit = normalize(target, dim=1, eps=1e-8)
    return (parts * unit).sum(2, keepdim=True).mean(0) * unit


def agreeing_mean(parts: Float[Tensor, "n b c *place"]) -> Float[Tensor, "b c *place"]:
    """``sum_i w_i g_i``, ``w = softmax_i(sum_j cos(g_i, g_j))`` over channels, pixel by pixel (arXiv 2510.25970).

    A part alone is returned as it is.
    """
    unit = normalize(parts, dim=2, eps=1e-8)
    agreement = (unit * unit.sum(0)).sum(2, keepdim=True)
    return (agreement.softmax(0) * parts).sum(0)
