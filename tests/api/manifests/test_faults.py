import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentedit.api.manifests.faults import MOST, Faults
from latentedit.core.errors import ConfigError


def test_nothing_found_is_nothing_raised() -> None:
    Faults("a.csv").check()


@given(count=st.integers(1, 3 * MOST))
def test_all_are_told_up_to_the_limit_and_the_rest_counted(count: int) -> None:
    faults = Faults("a.csv")
    for index in range(count):
        faults.add(f"row {index}", f"<fault {index}>")
    with pytest.raises(ConfigError) as caught:
        faults.check()
    message = str(caught.value)
    assert len(faults) == count
    assert message.startswith(f"expected a.csv to have no faults; got {count}: row 0: <fault 0>")
    for index in range(count):
        assert (f"row {index}: <fault {index}>" in message) == (index < MOST)
    assert message.endswith(f"; and {count - MOST} more") == (count > MOST)


def test_the_message_is_one_line() -> None:
    faults = Faults("a.csv")
    faults.add("row 1 (id 'a\nb')", "two\r\n lines")
    with pytest.raises(ConfigError, match=r"row 1 \(id 'a b'\): two lines$"):
        faults.check()
