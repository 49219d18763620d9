"""Everything that pages and records name exists: scripts, modules, targets, commands, options, experiments, commits."""

import pytest

from tools.mentions import Known, records, wrong_record

KNOWN = Known()
history = pytest.mark.skipif(not KNOWN.has_history, reason="a shallow clone")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("made by `python research/benchmarks/gone.py --output x.json`", ["research/benchmarks/gone.py"]),
        ("`research/results/gone.json`, and `tools/mentions.py`", ["research/results/gone.json"]),
        ("`python -m tools.gone`", ["python -m tools.gone"]),
        ("run `make gone`; make a mask", ["make gone"]),
        ("`latentedit gone FILE`", ["latentedit gone"]),
        ("`latentedit bench gone FOLDER`", ["latentedit bench gone"]),
        ("`latentedit keep a.png b.png --gone`", ["latentedit keep --gone"]),
        ("```console\n$ latentedit-keep mcp --gone\n```", ["latentedit mcp --gone"]),
        ("`latentedit reproduce joint-latent gone-claim`", ["latentedit reproduce gone-claim"]),
        ("`latentedit keep A B --json -o c.png`, `latentedit --help`, `latentedit COMMAND`", []),
        ("`python research/benchmarks/NAME.py`, `make test`, `python -m research.training portraits`", []),
    ],
)
def test_what_does_not_exist_is_found(text: str, named: list[str]) -> None:
    assert list(KNOWN.missing(text)) == named


@history
def test_what_is_gone_is_named_with_a_commit_that_has_it() -> None:
    there, elsewhere = "f4ffff1e:tools/hardware.py", "f4ffff1e:tools/mentions.py"
    assert list(KNOWN.missing(f"`git show {there}`, not `git show {elsewhere}`")) == [
        "f4ffff1e has no tools/mentions.py"
    ]


@history
def test_a_record_names_the_commit_of_code_that_is_gone() -> None:
    command, script = "python benchmarks/verdicts.py", "benchmarks/verdicts.py at commit"
    stated = {"rows": [{"command": command, "made by": f"{script} 4e70d48a"}, {"command": command}]}
    assert [wrong_record(KNOWN, *one) for one in records(stated)] == [[], ["benchmarks/verdicts.py"]]
    assert wrong_record(KNOWN, command, f"{script} 0123456789") == ["0123456789 has no benchmarks/verdicts.py"]
