"""A pytest plugin: marks of single cases, for parametrized tests of which one case is quick.

``slow_except("mask")`` marks every case but "mask" as slow, ``slow_cases("video", "animation")`` these two.
"""

import collections

import pytest


def case_name(item: pytest.Item) -> str:
    """Return the part of a test's name in brackets, such as "mask"; empty if it has no parameters."""
    _, bracket, rest = item.name.partition("[")
    return rest.removesuffix("]") if bracket else ""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    cases_of_test = collections.defaultdict[str, set[str]](set)
    named_cases: set[tuple[str, str]] = set()
    for item in items:
        case = case_name(item)
        test = item.nodeid.partition("[")[0]
        cases_of_test[test].add(case)
        for mark in item.iter_markers("slow_except"):
            named_cases.update((test, name) for name in mark.args)
            if case not in mark.args:
                item.add_marker(pytest.mark.slow)
        for mark in item.iter_markers("slow_cases"):
            named_cases.update((test, name) for name in mark.args)
            if case in mark.args:
                item.add_marker(pytest.mark.slow)

    one_case_was_requested = any("[" in argument for argument in config.args)
    unknown_cases = [f"{test}[{name}]" for test, name in sorted(named_cases) if name not in cases_of_test[test]]
    if unknown_cases and not one_case_was_requested:
        raise pytest.UsageError(f"slow_except or slow_cases names cases that do not exist: {', '.join(unknown_cases)}")
