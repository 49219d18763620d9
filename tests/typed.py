"""The check of arrays' shapes and dtypes at run time by jaxtyping and beartype; type checkers cannot see them."""

import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray

# They look at our own functions, and see the wrappers; or let a network return another shape.
_SEE_WRAPPERS = (
    "test_an_unknown_image_is_edited_with_a_warning_and_its_own_verdict",
    "test_caches_that_no_list_knows_are_rejected",
    "test_dropped_words_are_named_and_have_no_effect",
    "test_fails_at_once_in_one_line[kept.save",
    "test_hooks_of_one_code_are_tried_once_and_a_cache_among_them_is_found",
)
_CHECK = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as for type checkers


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check the arrays that a function takes and returns; tests pass wrong values of other types on purpose."""
    if not isinstance(function, types.FunctionType):
        return function
    arrays = {name: hint for name, hint in function.__annotations__.items() if _holds_array(hint)}
    function.__annotations__ = arrays
    return _CHECK(function) if arrays else function


def _holds_array(hint: Any) -> bool:
    return any(isinstance(one, type) and issubclass(one, AbstractArray) for one in (hint, *typing.get_args(hint)))


@pytest.fixture(scope="session", autouse=True)
def known_wrappers(no_double_stays: None) -> Iterator[None]:
    """Our hooks stay ours in the wrappers of jaxtyping."""
    from latentedit.models import user_code

    defining_module = user_code.defining_module

    def inside(thing: Any) -> str:
        name = defining_module(thing)
        return inside(thing.__wrapped__) if name.startswith("jaxtyping") else name

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(user_code, "defining_module", inside)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out the tests that cannot hold where functions are wrapped; they run in `make test`."""
    for item in items:
        if item.name.startswith(_SEE_WRAPPERS):
            item.add_marker(pytest.mark.skip(reason="its functions are wrapped here"))
