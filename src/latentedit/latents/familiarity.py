"""How familiar an image is to a model: a state, a number and the nearest reason."""

import dataclasses
from typing import Literal

# Like the model's own samples; unlike them, but nearer to them than to severely corrupted ones; neither.
State = Literal["known", "doubtful", "unknown"]

# Why an image is unfamiliar: the framer finds no subject, ..., "size" for few pixels or blur; "" where it is known.
Reason = Literal["", "subject", "style", "framing", "size", "colours", "caption"]

_REASONS: dict[str, str] = {
    "subject": "no subject of the kind that the model was trained on",
    "style": "nearest reason: style",
    "framing": "nearest reason: framing",
    "size": "nearest reason: size or sharpness",
    "colours": "nearest reason: colours",
    "caption": "nearest reason: the caption does not fit it",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Familiarity:
    """How familiar an image is to a model under its caption; see `guard.guard`.

    Args:
        state: "known", "doubtful" or "unknown".
        number: denoising loss of the image at level 0.5, relative to the median loss of the model's own samples.
        reason: the nearest one.
        caption_fits: the model denoises the image at least as well with its caption as without any.
        caption_read: the caption is what the model's own captioner says.
        evaluations: network evaluations that the check took.
    """

    state: State
    number: float
    reason: Reason
    caption_fits: bool
    caption_read: bool
    evaluations: int

    @property
    def text(self) -> str:
        """State, number and reason in one clause."""
        return f"{self.state}: {self.details}"

    @property
    def details(self) -> str:
        """Number and reason."""
        reason = f"; {_REASONS[self.reason]}" if self.reason else ""
        return f"denoising loss {self.number:.1f}x that of the model's own samples{reason}"

    @property
    def doubts(self) -> tuple[str, ...]:
        """What the user should know before an edit; empty for a known image under a caption that fits."""
        doubts: list[str] = []
        if self.state != "known":
            doubts.append(f"this picture is {self.state} to the model: {self.details}")
            if self.caption_read:
                doubts.append("the captioner was not trained on such images")
        if not self.caption_fits:
            doubts.append("the caption does not fit the picture: the model denoises it better without any")
        return tuple(doubts)
