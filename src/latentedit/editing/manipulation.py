"""How directions move images: by which arm, from which level, and what a direction says of the search that found it."""

from collections.abc import Mapping, Sequence
from typing import Any

from latentedit.core.errors import ConfigError
from latentedit.core.settings import Count, check, from_plain
from latentedit.directions.direction import Direction, lives_at_level
from latentedit.directions.hsds import HSDS
from latentedit.editors.eim import EIM
from latentedit.editors.registry import stored_settings
from latentedit.latents.joint import JointLatent
from latentedit.models.base import Backbone

SEARCHED, TEXT_ALONE = "hsds", "text difference"  # methods whose directions can be identified again from two captions
ARM_SETTINGS = ("arm", "level", "steps")  # settings of `EIM` that say how a direction moves an image
_SAME_LEVEL = 1e-6  # noise levels that differ by less are equal; files store them as decimals


def stored_eim(model: Backbone) -> EIM:
    """Encode, identify, manipulate with the settings that suit a model."""
    return EIM.from_dict(stored_settings(EIM.name, model))


def default_manipulation(latent: JointLatent, directions: Sequence[Direction], settings: Mapping[str, Any]) -> EIM:
    """The editor that moves images along directions: with these settings, and for the rest what suits both.

    Directions that were found at a noise level (`directions.at_level`) move images there, by the joint arm, and others
    go along with them. Directions that were found on other images and have words move as ``latentedit.json`` says under
    "transfer".
    """
    suiting = stored_eim(latent.backbone).settings_along()
    if at_level := [direction for direction in directions if lives_at_level(direction)]:
        suiting = _at_their_level(at_level)
    elif all(_found_elsewhere(direction, latent) for direction in directions):
        suiting |= latent.backbone.defaults.get("transfer", {})
    return EIM.from_dict({**suiting, **settings})


def search_of(settings: Mapping[str, Any]) -> HSDS:
    """The search that a direction names as its own; the settings may come from a file."""
    try:
        return from_plain(HSDS, {name: value for name, value in settings.items() if name != "seed"})
    except (ConfigError, TypeError, KeyError, IndexError) as error:
        raise ConfigError(
            f"the direction names settings that its search does not take: {error}. Make it again"
        ) from error


def seed_of(settings: Mapping[str, Any]) -> int:
    """The seed that a direction names; 0 where it names none."""
    seed = settings.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ConfigError(f"the seed of the direction is no whole number; got {seed!r}. Make it again")
    return seed


def broadcast(strength: Sequence[float], count: int) -> list[float]:
    """One strength for each of several directions, from one for all or one each."""
    return [float(one) for one in strength] if len(strength) > 1 else [float(strength[0])] * count


def words_of(direction: Direction, index: int) -> str:
    """What a direction says that an image should show; empty where it has no words for it."""
    place = index if len(direction.target_captions) > 1 else 0
    return direction.target_captions[place] if place < len(direction.target_captions) else ""


def _at_their_level(directions: Sequence[Direction]) -> dict[str, Any]:
    levels = [direction.level for direction in directions]
    if max(levels) - min(levels) > _SAME_LEVEL:
        listed = ", ".join(f"{level:g}" for level in sorted(set(levels)))
        raise ConfigError(
            f"directions of different noise levels cannot move a picture together; got levels {listed}. "
            "Move by one after the other, each on the result of the one before"
        )
    steps = [direction.settings["steps"] for direction in directions]
    for count in steps:
        check(Count, steps=count)  # it may come from a file
    return {"arm": "joint", "level": levels[0], "steps": max(steps)}


def _found_elsewhere(direction: Direction, latent: JointLatent) -> bool:
    """Found on other images, which it did not make either, and expressible in other captions."""
    here = {frame.picture.fingerprint for frame in latent.frames}
    return (
        bool(direction.pictures and direction.target_captions)
        and here.isdisjoint(name.partition("-")[0] for name in direction.pictures)
        and direction.target_captions != latent.captions
    )
