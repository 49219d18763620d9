"""Captions part of the way from one to another: some of the phrases that differ are exchanged, others not yet."""

from latentedit.latents.captions.phrases import phrase_key, read_phrases


def partial_targets(source: str, target: str, parts: int) -> tuple[str, ...]:
    """So many captions that together make every change of the source's phrases once, or several times.

    The k-th phrase that the target lacks is exchanged for the k-th that it adds; what is left over is taken out, or put
    at the end. With more changes than parts each caption makes several, with fewer they come again.

    Args:
        source: what a picture shows.
        target: what it should show.
        parts: how many captions.

    Returns:
        The target itself, so many times, where the two differ in more than their phrases, or not at all.

    Example:
        >>> partial_targets("a man with red hair, a hat", "a man with gray hair, glasses, a hat", 2)
        ('a man with gray hair, a hat', 'a man with red hair, a hat, glasses')
    """
    before, after = read_phrases(source, lead=True), read_phrases(target, lead=True)
    old, new = ([phrase.text for phrase in read.phrases] for read in (before, after))
    kept = {phrase_key(text) for text in old} & {phrase_key(text) for text in new}
    lost, added = ([text for text in texts if phrase_key(text) not in kept] for texts in (old, new))
    count = max(len(lost), len(added))
    if not count or (before.lead, before.ending) != (after.lead, after.ending):
        return (target,) * parts
    found: list[str] = []
    for part in range(parts):
        chosen = range(part, count, parts) if count > parts else [part % count]
        exchanged = {lost[place]: added[place] if place < len(added) else "" for place in chosen if place < len(lost)}
        more = [added[place] for place in chosen if place >= len(lost)]
        texts = [text for text in (*(exchanged.get(text, text) for text in old), *more) if text]
        found.append(f"{before.lead} {', '.join(texts)}".strip() + before.ending)
    return tuple(found)
