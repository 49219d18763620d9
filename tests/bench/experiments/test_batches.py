"""How items are cut into units."""

from latentedit_bench.experiments.joint_default import JointDefault


def test_the_last_batch_of_a_part_has_what_is_left() -> None:
    found = JointDefault(models=("a",), items=20, others=16).units(None)  # type: ignore[arg-type]
    parts = ["a-test-partial", "a-recolored-portraits-test-partial", "a-test-full"]
    assert found == [(parts[0], 0, 16), (parts[0], 16, 4), (parts[1], 0, 16), (parts[1], 16, 4), (parts[2], 0, 16)]
