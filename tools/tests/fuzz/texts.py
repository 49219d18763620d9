"""Damaged documents: JSON, YAML and CSV that are nearly valid."""

import copy
import json
from typing import Any

from hypothesis import strategies as st

STEERING = "\x1b]0;pwned\x07\x1b[31m\u202e\x9b\n\r"

HOSTILE: list[Any] = [  # values in place of valid ones
    None, True, False, -1, 0, 1, 7, 2** 31, 2** 63, 10** 30, -0.5, 0.5, 1e308, float("nan"), float("inf"), "", " ", "x",
    "0", STEERING, "a" * 5000, " " * 20_000, "and " * 3000, "../../../etc/passwd", "/dev/zero", "~nobody/x", "\x00",
    "meta", "cuda:99", "http://[::1", "=1+1", "\ud83d\ude00", "e\u0301", [], {}, [[]], [None], [1, 2], {"x": {}},
    {"": []}, ["x"] * 300, "x\ud800",
]  # fmt: skip


def _deep(depth: int) -> Any:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


values = st.sampled_from(HOSTILE) | st.integers(1, 400).map(_deep) | st.text(max_size=20) | st.integers() | st.floats()


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in _places(one, (*path, key)))]


@st.composite
def damaged(draw: st.DrawFn, whole: Any) -> Any:
    """A document with up to three values replaced, deleted or renamed."""
    document = json.loads(json.dumps(whole))
    for _ in range(draw(st.integers(0, 3))):
        path: tuple[Any, ...] = draw(st.sampled_from(_places(document)[1:] or [()]))
        if not path:
            return copy.deepcopy(draw(values))
        at = document
        for key in path[:-1]:
            at = at[key]
        how = draw(st.sampled_from(["other", "other", "gone", "renamed", "more"]))
        if how == "other":
            at[path[-1]] = copy.deepcopy(draw(values))  # it may be changed in turn
        elif how == "more" and isinstance(at, dict):
            at[draw(st.text(max_size=8))] = copy.deepcopy(draw(values))
        else:
            value = at.pop(path[-1])
            if how == "renamed" and isinstance(at, dict):
                at[draw(st.text(max_size=8))] = value
    return document


@st.composite
def bent(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes that are cut, overwritten, inserted, repeated or deleted in up to four places."""
    data = whole
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["cut", "overwrite", "in", "twice", "out"])):
            case "cut":
                data = data[:place]
            case "overwrite":
                more = draw(st.binary(min_size=1, max_size=8))
                data = data[:place] + more + data[place + len(more) :]
            case "in":
                data = data[:place] + draw(st.binary(min_size=1, max_size=40)) + data[place:]
            case "twice":
                length = draw(st.integers(1, 200))
                data = data[:place] + data[place : place + length] * draw(st.integers(1, 20)) + data[place + length :]
            case _:
                data = data[:place] + data[place + draw(st.integers(1, 200)) :]
    return data


def as_json(document: Any) -> bytes:
    """JSON, including NaN and infinity."""
    return json.dumps(document).encode()


def documents(whole: Any) -> st.SearchStrategy[bytes]:
    """A nearly valid JSON file."""
    return damaged(whole).map(as_json) | damaged(whole).map(as_json).flatmap(bent)


NODES = st.recursive(  # parts of a YAML file, valid or nearly so
    st.sampled_from([
        "x", "", "~", "1", "0x" + "f" * 300, "!!int ''", "!!bool foo", "!!timestamp foo", "!!float _", "!!binary x",
        "*a", "&a b", "!!python/object/apply:os.system [x]", "1_000", ".inf", "2001-02-30", "<<", '"\\e[31m"', "'x'",
        "|", ">-", "? :", "12:30:61", "9" * 400, "!!set {a, b}", "!!omap [a: 1]", "\ufeff", "é", "- ", "{", "[",
    ]) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4).map(lambda parts: f"[{', '.join(parts)}]")
    | st.lists(st.tuples(inner, inner), max_size=4).map(
        lambda parts: "{" + ", ".join(f"{key}: {value}" for key, value in parts) + "}"
    )
    | st.tuples(st.sampled_from("ab"), inner).map(lambda pair: f"&{pair[0]} {pair[1]}"),
    max_leaves=12,
)  # fmt: skip
