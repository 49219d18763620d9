"""The pictures of one visit: what came, and what every edit made of it."""

import dataclasses
from collections.abc import Callable, Sequence

from latentedit.core.progress import Progress
from latentedit.directions.direction import Direction
from latentedit.editing.result import EditResult
from latentedit.latents.pictures import Picture


@dataclasses.dataclass(slots=True, kw_only=True, eq=False)
class Edit:
    """What one task made of a picture.

    Args:
        results: one a strength, in rising order of their absolute value; the first is the picture before.
        directions: along which it moved, by what was asked for; none for editors that know none.
        move: makes results at other strengths, knowing what is known already.
        evaluations: network evaluations of all this, verdicts included.
        seconds: that it took.
    """

    results: list[EditResult]
    directions: dict[str, Direction]
    move: Callable[[Sequence[float], Progress | None], list[EditResult]]
    evaluations: int
    seconds: float


@dataclasses.dataclass(slots=True, kw_only=True, eq=False)
class Entry:
    """One picture of the history.

    Args:
        title: what was done.
        picture: as it is now.
        caption: what it shows.
        before: the entry that it was made of; None for a picture that was brought.
        edit: what made it; None likewise.
        strength: of the edit at which it was kept.
        notes: what the visitor should know about how the model sees the picture.
        payload: what undoes an edit that was made before the visit.
    """

    title: str
    picture: Picture
    caption: str
    before: "Entry | None" = None
    edit: Edit | None = None
    strength: float = 0.0
    notes: tuple[str, ...] = ()
    payload: bytes | None = None

    def keep(self, result: EditResult) -> None:
        """Take the picture of one of the edit's results."""
        self.strength = result.strength
        self.picture = Picture(image=result.image, path=self.picture.path)
        (self.caption,) = result.latent.captions
