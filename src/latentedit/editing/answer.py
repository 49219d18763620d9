"""Does an edit show what was requested, and did anything else change? The model's verdict against a reader's.

The model judges an edit by its own two texts. Where it never learned a word of the change, it cannot judge, and the
verdict is "not known". Where a reader names the attributes of the image, before and after, and those that captions
state, an edit is done only if the requested ones are there; what changed without a request is named.
"""

import dataclasses
from collections.abc import Mapping

from latentedit.editors.judge import Verdict
from latentedit.encoding.captions.base import AttributeReader
from latentedit.encoding.captions.change import changed_phrases
from latentedit.encoding.captions.fitting import without
from latentedit.models.base import Backbone

_NONE = "none"  # the value of a part that is not there


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The request in a change of captions.

    Args:
        values: attribute to the value that the target caption states, None where only the source caption states one;
            None without a reader of captions.
        unread: the phrases of the change that the model, or the reader, does not know.
        weak: attributes that change in part only, which a reader sees as all or nothing; its word does not count.
    """

    values: Mapping[str, str | None] | None
    unread: tuple[str, ...]
    weak: frozenset[str] = frozenset()

    @classmethod
    def of(cls, model: Backbone, reader: object, source: str, target: str, *, full: str | None = None) -> "Wanted":
        """From two captions, by the words that the model knows and, if it is an `AttributeReader`, by its grammar.

        ``full`` is the caption with those changes alone that have strength 1 or more; by default all of them.
        """
        if full == source:  # a reader has nothing to look for
            reader = None
        removed, added = changed_phrases(source, target)
        unread = [phrase for phrase in (*removed, *added) if model.unseen_words(phrase)]
        stated = reader.stated if isinstance(reader, AttributeReader) else lambda _: None
        if (old := stated(source)) is None or (new := stated(target)) is None:
            return cls(values=None, unread=tuple(unread))
        unread += [phrase for phrase in added if phrase not in unread and stated(without(target, [phrase])) == new]
        values = {name: new.get(name) for name in {**old, **new} if old.get(name) != new.get(name)}
        if full is None or full == target or (most := stated(full)) is None:
            return cls(values=values, unread=tuple(unread))
        weak = frozenset(name for name in values if most.get(name) == old.get(name))
        requested = {name: most.get(name) for name in values if name not in weak}
        return cls(values=requested, unread=tuple(unread), weak=weak)


def answered(
    verdict: Verdict, wanted: Wanted, before: Mapping[str, str] | None, after: Mapping[str, str] | None
) -> Verdict:
    """The verdict on an edit with what the reader surely sees before and after it."""
    if verdict.word in ("damaged", "not known"):
        return verdict
    values = wanted.values
    if before is None or after is None or values is None:
        return _unknown(verdict, wanted) if wanted.unread else verdict
    kinds, weak = ({name.partition("_")[0] for name in names} for names in (values, wanted.weak))
    also = tuple(
        f"{name} {value} -> {after[name]}"
        for name, value in before.items()
        if name not in values
        and name.partition("_")[0] not in weak
        and after.get(name, value) != value
        # The color of what appears or goes is no change of its own.
        and not (_NONE in (value, after[name]) and name.partition("_")[0] in kinds)
    )
    verdict = dataclasses.replace(verdict, also=also)
    if wanted.unread:
        return _unknown(verdict, wanted)
    made = {name: after.get(name) != before.get(name) for name in values}
    missing = [
        name for name, value in values.items() if not (made[name] if value is None else after.get(name) == value)
    ]
    if missing and verdict.word in ("done", "partly done", "changed"):
        seen = ", ".join(f"{name} {after.get(name, 'uncertain')}" for name in missing)
        # A value of which the reader is not sure is there in part.
        word = "partly done" if len(missing) < len(values) or not after.keys() >= {*missing} else "not done"
        count = f"{len(values) - len(missing)} of {len(values)}: " if len(missing) < len(values) else ""
        reason = f"{count}the reader sees {seen}"
        return dataclasses.replace(verdict, word=word, share=None, reason=reason, remedy="look at the image")
    if verdict.word == "not done" and not missing and any(made.values()):
        reason = "the reader sees it, the model does not"
        return dataclasses.replace(verdict, word="partly done", reason=reason, remedy="look at the image")
    if also and not missing and verdict.word == "done":
        return dataclasses.replace(verdict, word="done, but also")
    return verdict


def _unknown(verdict: Verdict, wanted: Wanted) -> Verdict:
    """No verdict where the change has words that say nothing to the model."""
    words = ", ".join(repr(phrase.removesuffix(" with")) for phrase in wanted.unread)
    reason, remedy = f"the model cannot read {words}", "look at the image, or use words that it knows"
    return dataclasses.replace(verdict, word="not known", share=None, opacity=None, reason=reason, remedy=remedy)
