"""The best setting is found, with the stated effort, and comes back from its file as it went."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from latentedit.core import ConfigError, ModelError, RegistryError
from latentedit.editors import SDEdit, make_editor
from latentedit.models import bundled_folder, read_settings
from latentedit_bench.data.items import Dataset
from latentedit_bench.data.prepared import Prepared, prepare
from latentedit_bench.ranking.search_spaces import SearchSpace, search_space
from latentedit_bench.tuning import tuning
from latentedit_bench.tuning.tuning import (
    Trials,
    Tried,
    left_to_tune,
    score_settings,
    store_best,
    tune_gain,
    tune_method,
    tuned_methods,
    write_tuning,
)
from research.tests.bench.conftest import Register
from research.tests.bench.rendered_network import OracleEditor, RenderedNetwork, prepared, some_items
from research.tests.bench.tuning.toy import Toy

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.5, 2.5)
TOY = SearchSpace(name="toy", editor="toy", candidates=tuple({"share": s} for s in SHARES), budget=4, tries=len(SHARES))


@pytest.fixture
def toy(register: Register) -> type[OracleEditor]:
    """An editor that is registered here alone; it goes a share of the way to the answer."""
    register("editors", toy="research.tests.bench.tuning.toy:Toy")
    return Toy


@pytest.fixture
def batches() -> list[Prepared]:
    model, items = prepared(reads=False).latent.backbone, some_items()
    return [prepare(model, items[:4]), prepare(model, items[4:8]), prepare(model, items[8:])]


@pytest.mark.nightly
@pytest.mark.usefixtures("toy")
def test_the_best_setting_is_found_and_the_best_third_of_the_first_batch_is_tried_on_all(
    batches: list[Prepared],
) -> None:
    """The error of a share k of the way is ``(1 - k)^2``, up to the rounding to eight bits; what lies beyond the answer
    is clipped at black and white."""
    reported, settings = list[tuple[str, int, int]](), Trials(batches, {False}, gains=(1.0,))
    with batches[0].latent.backbone.count() as cost:
        tried = tune_method(TOY, settings, progress=lambda *step: reported.append(step))
    assert [one.items for one in tried] == [12] * 4 + [4] * 8
    assert tried[0].settings["share"] == 1.0
    assert {one.settings["share"] for one in tried[:4]} == {0.7, 0.8, 0.9, 1.0}
    for one in tried:
        share = one.settings["share"]
        if share <= 1:
            assert one.score == pytest.approx((1 - share) ** 2, abs=0.01)
        else:
            assert 0.05 < one.score < min(1.0, (1 - share) ** 2)
        assert one.evaluations == one.settings["steps"] == 4, "as many steps as the budget pays for"
    assert [one.score for one in tried[4:]] == sorted(one.score for one in tried[4:])
    assert reported == [("toy", done, 16) for done in range(1, 17)]
    assert cost.evaluations == 4 * (12 * 4 + 4 * 8), "twelve on four items, four of them on the others too"
    assert [one.moved == one.moved for one in tried] == [True] * 4 + [False] * 8, "only all items hold a still one"


def test_all_edits_are_drawn_from_one_seed(batches: list[Prepared], toy: type[OracleEditor]) -> None:
    seeds = list[list[int]]()

    class Watched(toy):
        def edit(self, *arguments: Any, seed: Any, **rest: Any) -> Any:
            seeds.append(seed)
            return super().edit(*arguments, seed=seed, **rest)

    trials, editor = Trials(batches[:2], {False}, gains=(1.0,), seed=5), Watched()
    trials.tried(TOY, editor, 2)
    trials.with_gain(TOY, editor, 1.5)
    assert seeds == [one.seeds(5) for one in batches[:2]] * 2


@pytest.mark.nightly
@pytest.mark.usefixtures("toy")
def test_the_search_continues_beyond_an_edge_until_the_number_of_tries(batches: list[Prepared]) -> None:
    """The best of .1 to .4 is an end: on to .4 * .4 / .3, .71 and .95; the next lies beyond the answer, and then it is
    halfway between the best and the next."""
    shares = (0.1, 0.2, 0.3, 0.4)
    some = SearchSpace(name="toy", editor="toy", candidates=tuple({"share": s} for s in shares), budget=4, tries=9)
    reported: list[tuple[int, int]] = []
    tried = tune_method(
        some, Trials(batches, {False}, gains=(1.0,)), progress=lambda _, done, total: reported.append((done, total))
    )
    assert len(tried) == 9
    assert reported[-1] == (11, 11), "four on the first batch, two of them and five more on all"
    made = sorted(one.settings["share"] for one in tried)
    assert made[4:] == pytest.approx([0.533, 0.71, (0.71 + 0.946) / 2, 0.946, 1.26], abs=2e-3)
    assert tried[0].settings["share"] == 0.946
    assert tried[0].score == min(one.score for one in tried if one.items == 12)
    assert {one.items for one in tried[:7]} == {12}
    assert all(one.settings["steps"] == 4 for one in tried), "as many steps as the budget pays for"


@pytest.mark.nightly
@pytest.mark.usefixtures("toy")
def test_rows_that_differ_in_locality_share_their_edits(batches: list[Prepared]) -> None:
    local = dataclasses.replace(TOY, name="toy, local", local=True)
    trials, model = Trials(batches, {False, True}, gains=(1.0,)), batches[0].latent.backbone
    with model.count() as first:
        whole = tune_method(TOY, trials)
    with model.count() as second:
        kept = tune_method(local, trials)
    assert first.evaluations == 4 * (12 * 4 + 4 * 8)
    assert second.evaluations <= 4 * 4 * 8, "what was dropped after the first batch may be another one"
    alone = tune_method(local, Trials(batches, {True}, gains=(1.0,)))
    assert [(one.settings, one.score) for one in kept] == [(one.settings, one.score) for one in alone]
    assert [one.score for one in kept] != [one.score for one in whole]


@pytest.mark.nightly
@pytest.mark.usefixtures("toy")
def test_a_candidate_is_judged_at_the_best_of_some_factors(batches: list[Prepared]) -> None:
    """The error of a share k at a factor g is ``(1 - g k)^2``, and the network is evaluated once."""
    model = batches[0].latent.backbone
    for share, gain in ((0.87, 1.15), (0.95, 1.05), (1.04, 0.95)):
        some = dataclasses.replace(TOY, candidates=({"share": share},), tries=1)
        with model.count() as cost:
            (found,) = tune_method(some, Trials(batches, {False}))
        assert found.gain == gain
        assert found.score == pytest.approx((1 - gain * share) ** 2, abs=0.01)
        assert cost.evaluations == 4 * 12


@pytest.mark.slow
@pytest.mark.parametrize(
    ("share", "gain"),
    [(0.8, 1.24), *(pytest.param(*one, marks=pytest.mark.nightly) for one in ((1.0, 1.0), (0.3, 1.48)))],
)
def test_the_gain_makes_up_for_what_a_change_lacks(
    batches: list[Prepared], toy: type[OracleEditor], share: float, gain: float
) -> None:
    """It is the step of .06 nearest to 1 / share, where the error is ``(1 - gain * share)^2``; at most 1.5."""
    best = Tried(settings=toy(share=share).to_dict(), items=12, score=0.0, gain=1.0, moved=0.0, evaluations=4.0)
    reported = list[tuple[str, int, int]]()
    with batches[0].latent.backbone.count() as cost:
        found, error = tune_gain(
            TOY, Trials(batches, {False}, gains=(1.0,)), best, progress=lambda *step: reported.append(step)
        )
    assert found == gain
    assert error == pytest.approx((1 - gain * share) ** 2, abs=0.01)
    assert cost.evaluations == 12 * toy(share=share).evaluations(batches[0].latent), "the edits are paid once"
    assert reported[-1][1] == reported[-1][2] == len(reported)


def test_worse_than_nothing_counts_as_nothing() -> None:
    assert score_settings([{"error": 0.2}, {"error": 7.0}, {"error": None}]) == pytest.approx(0.6)
    with pytest.raises(ConfigError):
        score_settings([{"error": None}, {"changed_rms": 0.1}])


MODEL = RenderedNetwork()
DATA = Dataset(name="some", version="7", items=some_items()[:2])


def tried_of(name: str) -> list[Tried]:
    plain = json.loads(json.dumps(search_space(name).candidates[:2]))
    more = {"items": 2, "gain": 1.0, "moved": 0.0, "evaluations": 10.0}
    return [Tried(settings={**one, "steps": 5}, score=0.1 + index, **more) for index, one in enumerate(plain)]


def written(path: Path, *names: str) -> Path:
    for name in names:
        write_tuning(path, MODEL, DATA, search_space(name), tried_of(name), gain=1.12, command=f"tune {name}")
    return path


def test_settings_come_back_as_methods(tmp_path: Path) -> None:
    path = written(tmp_path / "tuning.json", "flowslider", "eim tuned", "sdedit")
    shipped, *found = tuned_methods(MODEL, DATA, path=path)
    assert (shipped.name, shipped.editor, shipped.gain) == ("eim", make_editor("eim", MODEL), 1)
    assert [one.name for one in found] == ["flowslider", "eim tuned", "sdedit"]
    assert [one.local for one in found] == [False, True, False]
    assert [one.gain for one in found] == [1.12] * 3
    for one in found:
        best = tried_of(one.name)[0].settings
        assert one.editor == type(one.editor).from_dict(best)
        assert one.editor.name == search_space(one.name).editor
    chosen = tuned_methods(MODEL, DATA, ["sdedit", "eim"], path=path)
    assert [one.name for one in chosen] == ["sdedit", "eim"]


def test_the_file_records_data_and_command_and_keeps_other_methods(tmp_path: Path) -> None:
    path = written(tmp_path / "tuning.json", "flowslider", "sdedit", "flowslider")
    known = json.loads(path.read_text())
    assert (known["model"], known["fingerprint"]) == (MODEL.name, MODEL.fingerprint)
    assert list(known["methods"]) == ["flowslider", "sdedit"]
    one = known["methods"]["flowslider"]
    assert (one["budget"], one["command"]) == (28, "tune flowslider")
    assert one["data"] == {"name": "some", "version": "7", "items": 2, "fingerprint": DATA.fingerprint}
    assert [entry["score"] for entry in one["tried"]] == [0.1, 1.1]
    assert one["edges"] == ["level"], "the lower of two levels was best, and one noise is the least"
    spaces = [search_space(name) for name in ("flowslider", "dds", "sdedit")]
    assert left_to_tune(path, MODEL, DATA, spaces) == spaces[1:2]
    dearer = dataclasses.replace(spaces[0], budget=60)
    assert left_to_tune(path, MODEL, DATA, [dearer]) == [dearer]
    assert left_to_tune(path, MODEL, dataclasses.replace(DATA, version="8"), spaces) == spaces
    others = dataclasses.replace(DATA, items=some_items()[2:4])
    assert left_to_tune(path, MODEL, others, spaces) == spaces, "a manifest of the same name"
    assert left_to_tune(tmp_path / "none.json", MODEL, DATA, spaces) == spaces


@pytest.mark.parametrize("theirs", ["another model's", "something else"])
def test_another_file_is_left_alone_and_gives_no_settings(tmp_path: Path, theirs: str) -> None:
    path, other = written(tmp_path / "tuning.json", "flowslider"), RenderedNetwork()
    other.fingerprint = "other"
    if theirs == "something else":
        path.write_text("{}")
    before = path.read_bytes()
    with pytest.raises(ConfigError):
        write_tuning(path, other, DATA, search_space("sdedit"), tried_of("sdedit"), gain=1.0, command="")
    with pytest.raises(ConfigError):
        tuned_methods(other, DATA, path=path)
    assert path.read_bytes() == before
    with pytest.raises(ModelError):
        tuned_methods(MODEL, DATA, path=tmp_path / "missing.json")


def test_methods_without_settings_are_named(tmp_path: Path) -> None:
    path = written(tmp_path / "tuning.json", "flowslider")
    with pytest.raises(ConfigError):
        tuned_methods(MODEL, DATA, ["sdedit, local"], path=path)
    with pytest.raises(RegistryError, match="flowslider"):
        tuned_methods(MODEL, DATA, ["flowslide"], path=path)
    assert [one.name for one in tuned_methods(MODEL, DATA)] == ["eim"], "which needs none"


def test_an_editor_without_tuned_settings_gets_the_steps_that_the_budget_pays_for(
    tmp_path: Path, register: Register
) -> None:
    """The oracle of another package costs one evaluation per step; SDEdit has its defaults and its steps."""
    register("editors", oracle="research.tests.bench.rendered_network:OracleEditor")
    path = written(tmp_path / "tuning.json", "flowslider")
    with pytest.warns(UserWarning, match="oracle"):
        tuned, theirs = tuned_methods(MODEL, DATA, ["flowslider", "oracle"], path=path)
    assert tuned == tuned_methods(MODEL, DATA, path=path)[1]
    assert (theirs.editor, theirs.local, theirs.gain) == (OracleEditor(steps=28), False, 1)
    assert (tuned.tuned, theirs.tuned) == (True, False)
    with pytest.warns(UserWarning, match="sdedit"):
        (sdedit,) = tuned_methods(MODEL, DATA, ["sdedit"])
    latent = prepare(MODEL, DATA.items[:1]).latent
    assert sdedit.editor == SDEdit(steps=sdedit.editor.to_dict()["steps"])
    assert 24 < sdedit.editor.evaluations(latent) <= 28 < SDEdit(steps=60).evaluations(latent)


@pytest.fixture
def folder(register: Register) -> Path:
    """The folder of an installed model "theirs", with settings of the portraits."""
    folder = register("models", theirs="weights:FOLDER")
    (folder / "weights.py").write_text(f"FOLDER = {str(folder)!r}\n")
    shutil.copy(bundled_folder("portraits") / "latentedit.json", folder)
    known = read_settings(folder)
    known.pop("benchmark", None)
    (folder / "latentedit.json").write_text(json.dumps(known))
    return folder


def test_the_best_becomes_the_models_own(folder: Path, tmp_path: Path) -> None:
    before = read_settings(folder)
    store_best("theirs", written(tmp_path / "tuning.json", "flowslider", "eim tuned"))
    store_best("theirs", written(tmp_path / "second.json", "sdedit", "flowslider, local", "rf-solver, shared"))
    after = read_settings(folder)
    assert after["editors"]["eim"] == before["editors"]["eim"], "chosen with more than this benchmark in mind"
    for name in ("flowslider", "sdedit"):
        assert after["editors"][name] == tried_of(name)[0].settings
    assert after["editors"].get("rf-solver") == before["editors"].get("rf-solver"), "that row is a variant of it"
    assert list(after["benchmark"]) == ["flowslider", "eim tuned", "sdedit", "flowslider, local", "rf-solver, shared"]
    untouched = set(before) - {"editors", "benchmark"}
    assert {name: after[name] for name in untouched} == {name: before[name] for name in untouched}
    model = RenderedNetwork()
    model.defaults = after
    found = [(one.name, one.local) for one in tuned_methods(model, DATA)[1:]]
    variants = [("flowslider, local", True), ("rf-solver, shared", False)]
    assert found == [("flowslider", False), ("eim tuned", True), ("sdedit", False), *variants]
    assert tuned_methods(model, DATA, ["eim"])[0].editor == make_editor("eim", model), "what latentedit edit runs"


@pytest.mark.parametrize(
    ("best", "tried"),
    [
        (1.0, [1.0, 0.94, 1.06]),
        (1.2, [1.0, 0.94, 1.06, 1.12, 1.18, 1.24]),
        (0.85, [1.0, 0.94, 1.06, 0.88, 0.82]),
        (9.0, [1.0, 0.94, 1.06, 1.12, 1.18, 1.24, 1.3, 1.36, 1.42, 1.48]),
    ],
)
def test_gains_are_tried_as_long_as_the_last_is_the_best(best: float, tried: list[float]) -> None:
    found: dict[float, float] = {}
    for gain in tuning._gains(found):
        found[gain] = abs(gain - best)
    assert list(found) == tried
