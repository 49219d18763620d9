"""Writes pages from declarations, and registers editors: ``python -m tools.reference``.

``docs/reference/commands.md`` comes from the declarations of the commands, with their docstrings and examples,
``docs/reference/check.schema.json`` from the fields of a check's report, the fields of a recipe on
``docs/reference/files.md``, the table on ``docs/methods.md``, the
formulas of `eim` on ``docs/concepts/hsds.md``, the editors on ``docs/reference/python/editors.md`` and what
`latentedit.editors` exports from the registered editors, and the other public names from the rooms that export them.
The tables of ``docs/results/claims.md`` come from ``research/results/claims``, and the plots there move to that page.

With ``--register`` it only adds the editors of ours to ``pyproject.toml`` that are not registered there.
"""

import ast
import dataclasses
import importlib
import inspect
import itertools
import json
import operator
import pkgutil
import re
import sys
import textwrap
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer
from pydantic import TypeAdapter

import latentedit
from latentedit.cli.commands import BENCH_COMMANDS, COMMANDS, OUR_COMMANDS
from latentedit.cli.program import EXAMPLES, kind
from latentedit.core.files import plain, write_text
from latentedit.core.plugins import EDITORS
from latentedit.core.recipe import Recipe
from latentedit.editors import baselines
from latentedit.editors.base import Editor, editor_class, make_editor
from latentedit.encoding.joint import JointLatent
from latentedit.keeping.checking import Measure, Region, Report
from latentedit.photo.provenance import Declaration
from latentedit_bench.experiments.experiment import EIM_PAPER, RIEMANNIAN, UNSUPERVISED, make_experiment
from latentedit_bench.experiments.run import Record, read_records
from latentedit_bench.metrics.decisions import Outcome
from tools.running import ROOT

DOCS = ROOT / "docs"
METHODS = DOCS / "methods.md"
CLAIMS = DOCS / "results" / "claims.md"
SEARCH = DOCS / "concepts" / "hsds.md"
PYTHON = DOCS / "reference" / "python"
EDITORS_PAGE = PYTHON / "editors.md"
PROJECT = ROOT / "pyproject.toml"
EXPORTS = ROOT / "src" / "latentedit" / "editors" / "__init__.py"

_MARKED = re.compile(r"(?<=<!--methods-->\n).*?(?=<!--/methods-->)", re.DOTALL)
_PAPER = re.compile(r"(?<=<!--claims )(\w+)-->\n.*?(?=<!--/claims-->)", re.DOTALL)
_FORMULAS = re.compile(r"(?<=<!--formulas-->\n).*?(?=<!--/formulas-->)", re.DOTALL)
_BASELINES = re.compile(r"(?<=<!--editors-->\n).*?(?=<!--/editors-->)", re.DOTALL)
_ROOM = re.compile(r"<!--room (\S+)-->\n.*?(?=<!--/room-->)", re.DOTALL)
_ENTRIES = re.compile(r"^(?:      heading:|:::) (\S+)$", re.MULTILINE)
_REGISTERED = re.compile(r'(?<=\[project.entry-points."latentedit.editors"\]\n)(?:.+\n)*')
_RECIPE = re.compile(r"(?<=<!--recipe-->).*?(?=<!--/recipe-->)")
_ARXIV = re.compile(r"arXiv[ :](\d{4}\.\d{5})")
_EXPORT = re.compile(r"^    from (\S+) import (\w+) as \2\n", re.MULTILINE)
_ENTRY = re.compile(r"^@misc.*?eprint = \{(.*?)\}.*?keywords = \{(.*?)\}", re.DOTALL | re.MULTILINE)

PAPERS = {"eim": EIM_PAPER, "riemannian": RIEMANNIAN, "unsupervised": UNSUPERVISED}
_NETWORKS = ("portraits", "portraits-unet")
"""Networks of most claims."""

STORED = ROOT / "research" / "results" / "claims"
FIGURES = DOCS / "images" / "results" / "claims"

_MODEL = "Model"
"""The panel of options that every command which loads a model takes."""

_EVERYWHERE = ("--json", "--quiet", "--help")
"""Options that the introduction explains."""

_INTRODUCTION = """\
# Commands

For users of the shell: every command with its options, as `latentedit COMMAND --help` prints them. Results go to
standard output, progress and warnings to standard error. Commands that print results also take `--json` (one JSON
object instead of text) and `--quiet`, `-q` (print nothing but errors). What a command returns and writes: [files and
exit codes](files.md).
"""


def main() -> None:
    """Write all pages that have changed, and move the figures of papers."""
    if sys.argv[1:] == ["--register"]:
        project = PROJECT.read_text(encoding="utf-8")
        if registered(project) != project:
            write_text(PROJECT, registered(project))
        return
    for figure in STORED.glob("*.webp"):
        figure.replace(FIGURES / figure.name)
    for path, text in {**reference(), **results()}.items():
        if path.read_text(encoding="utf-8") != text:
            write_text(path, text)
            print(f"{path.relative_to(ROOT)}: written")


def reference() -> dict[Path, str]:
    """Every generated page, by its place."""
    folder = DOCS / "reference"
    return {
        folder / "commands.md": commands_page(),
        folder / "check.schema.json": check_schema(),
        folder / "files.md": files_page((folder / "files.md").read_text(encoding="utf-8")),
        **python_pages(),
        EXPORTS: exports(EXPORTS.read_text(encoding="utf-8")),
    }


def results() -> dict[Path, str]:
    """The pages of claims and of methods, and the formulas of the search, which take some seconds."""
    claims, methods, search = (page.read_text(encoding="utf-8") for page in (CLAIMS, METHODS, SEARCH))
    return {CLAIMS: paper_tables(claims), METHODS: methods_page(methods), SEARCH: search_page(search)}


_DESCRIBED: dict[str, type] = {"": Report, "Declaration": Declaration, "Measure": Measure, "Region": Region}


def check_schema() -> str:
    """The schema of `latentedit check --json`; descriptions are those of the docstrings."""
    schema = TypeAdapter(Report).json_schema(mode="serialization")
    for name, described_type in _DESCRIBED.items():
        part: dict[str, Any] = schema["$defs"][name] if name else schema
        part["description"] = str(described_type.__doc__).partition("\n")[0]
        about = dict(re.findall(r"^        (\w+): (.+(?:\n {12}.+)*)", str(described_type.__doc__), re.MULTILINE))
        for field, text in about.items():
            part["properties"][field]["description"] = " ".join(text.split())
    return json.dumps(schema, indent=1) + "\n"


def files_page(page: str) -> str:
    """The page with the fields of a recipe between its marks."""
    return _RECIPE.sub(", ".join(f"`{field.name}`" for field in dataclasses.fields(Recipe)), page)


def commands_page() -> str:
    """All commands of our distributions, by what they are for."""
    found, parts, shown = dict[str, str](), [_INTRODUCTION], dict[str, tuple[str, str]]()
    for name, point in COMMANDS.points().items():
        package = point.dist.name if point.dist is not None else "latentedit"
        if package in ("latentedit", "latentedit-bench"):
            found[name] = package
    groups = {title: tuple(panel) for title, panel in OUR_COMMANDS.items()}
    groups["Measure"] = BENCH_COMMANDS
    listed = {name for names in groups.values() for name in names}
    groups["Others"] = tuple(name for name in found if name not in listed)
    for title, names in groups.items():
        named = [name for name in names if name in found]
        parts += [f"## {title}\n"] if named else []
        for name in named:
            package = "" if found[name] == "latentedit" else found[name]
            parts += _command_parts(f"latentedit {name}", _declared(name), shown, package)
    choosing = [one for one in _declared("edit").params if one.rich_help_panel == _MODEL]
    parts += ["## Options of the model\n\nOf the commands above that refer to them.\n", *_list(choosing)]
    return "\n".join(parts)


def _declared(name: str) -> Any:
    """The command, or the group of commands, as it was declared."""
    found, group = COMMANDS.load(name), typer.Typer()
    group.callback()(lambda: None)
    if isinstance(found, typer.Typer):
        group.add_typer(found, name=name)
    else:
        group.command(name)(found)
    made: Any = typer.main.get_command(group)
    return made.commands[name]


def _command_parts(
    name: str, command: Any, shown: dict[str, tuple[str, str]], package: str = "", *, level: int = 3
) -> Iterator[str]:
    """A command's section. What an earlier one has shown (in `shown`, with its name and default) is only named."""
    short = name.removeprefix("latentedit ")
    yield f"{'#' * level} {short}\n"
    about, lines = described(command.help or "")
    if package:
        about += f"\n\nComes with `{package}`."
    yield f"{about}\n"
    if hasattr(command, "commands"):
        for below, one in command.commands.items():
            if not one.hidden:
                yield from _command_parts(f"{name} {below}", one, shown, level=level + 1)
        return
    taken = [one for one in command.params if not one.hidden and one.opts[0] not in _EVERYWHERE]
    arguments = [one for one in taken if not _is_option(one)]
    usage = " ".join([name, *(_argument(one) for one in arguments), "[OPTIONS]"])
    examples = [line for line in lines if line != name and not line.endswith(_EVERYWHERE)]
    yield "\n".join(["```sh", usage, *(["", *examples] if examples else []), "```\n"])
    chooses = "--model" in [one.opts[0] for one in taken if one.rich_help_panel == _MODEL]
    own = [one for one in taken if one.rich_help_panel != _MODEL or not chooses]
    before, new = dict[str, list[str]](), list[Any]()
    for one in filter(_is_option, own):
        where, default = shown.setdefault(_about(one), (short, _default(one)))
        if where == short:
            new.append(one)
        else:
            other = "" if _default(one) == default else f" (default {_default(one) or 'none'})"
            before.setdefault(where, []).append(f"`{one.opts[0]}`{other}")
    if arguments or new:
        yield from _list([*arguments, *new])
    others = [f"{', '.join(names)} as for [{other}](#{other.replace(' ', '-')})" for other, names in before.items()]
    if len(own) < len(taken):
        others.append("the [options of the model](#options-of-the-model)")
    if others:
        yield f"Also {'; '.join(others)}.\n"


def _list(parameters: Sequence[Any]) -> Iterator[str]:
    yield from map(_item, parameters)
    yield ""


def described(text: str) -> tuple[str, list[str]]:
    """A docstring as Markdown without its examples, and those: a section's lines become a list."""
    prose, examples = list[str](), list[str]()
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith(f"{EXAMPLES}\n"):
            examples += [line.strip() for line in paragraph.splitlines()[1:]]
        else:
            prose.append(re.sub(r"\n +", "\n* ", paragraph.replace(":\n ", ":\n\n ", 1)))
    return "\n\n".join(prose), examples


def _is_option(parameter: Any) -> bool:
    return str(parameter.opts[0]).startswith("-")


def _argument(parameter: Any) -> str:
    name = _metavar(parameter)
    many = parameter.nargs == -1 or parameter.multiple
    return (name if parameter.required else f"[{name}]") + ("..." if many else "")


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name).upper().replace("_", " ").removesuffix("...")


def _item(parameter: Any) -> str:
    default = _default(parameter)
    needed = "Required." if parameter.required else f"Default: {default}." if default else ""
    return f"* {_about(parameter)} {needed}".rstrip()


def _about(parameter: Any) -> str:
    """How a parameter is written, and what it is."""
    names = ", ".join(f"`{one}`" for one in (*parameter.opts, *parameter.secondary_opts))
    name = f"{names} {kind(parameter)}".strip() if _is_option(parameter) else f"`{_metavar(parameter)}`"
    return f"{name}: {_plain(parameter.help)}"


def _default(parameter: Any) -> str:
    """An option's default, or "" where there is none, or where its description states it."""
    shown = parameter.show_default and parameter.default not in (None, False, "", (), [])
    return f"`{parameter.default}`" if shown else ""


def _plain(text: str | None) -> str:
    return " ".join((text or "").split()).replace("<", "&lt;")


def methods_page(page: str) -> str:
    """The page with the table between its marks: costs are those of the settings stored for the bundled model."""
    latent = latentedit.encode(latentedit.load("portraits"), DOCS / "images" / "me.png")
    head = "| method | what it does | papers | evaluations | identity |"
    rows = [head, f"|{' --- |' * 5}", *(_method_row(name, latent) for name in EDITORS.names())]
    return _MARKED.sub(lambda _: "".join(f"{row}\n" for row in rows), page)


def registered(project: str) -> str:
    """The text of ``pyproject.toml`` with an entry point for each editor of ours that has a name."""
    for module in pkgutil.iter_modules(baselines.__path__, f"{baselines.__name__}."):
        importlib.import_module(module.name)
    lines, kinds = _REGISTERED.findall(project)[0].splitlines(keepends=True), [Editor]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        place = f'"{kind.__module__}:{kind.__name__}"\n'
        ours = kind.__module__.startswith(baselines.__name__) and "name" in vars(kind)
        lines += [f"{kind.name} = {place}"] if ours and not any(line.endswith(place) for line in lines) else []
    return _REGISTERED.sub(lambda _: "".join(lines), project)


def papers_of(editor: type[Editor]) -> list[str]:
    """The arXiv ids of an editor: those that the bibliography has for it, else the first of its docstring."""
    entries = _ENTRY.findall((DOCS / "citations.bib").read_text(encoding="utf-8"))
    listed = [arxiv for arxiv, names in entries if editor.name in names.split(", ")]
    return listed or _ARXIV.findall(inspect.getdoc(editor) or "")[:1]


def _baselines() -> list[tuple[str, str]]:
    """Module and name of each registered editor of ours but `eim`, sorted."""
    found = {(kind.__module__, kind.__name__) for kind in map(editor_class, EDITORS.names())}
    return sorted(one for one in found if one[0].startswith("latentedit.editors.baselines."))


def editors_page(page: str) -> str:
    """The page with the registered editors between its marks, by module."""
    lines = list[str]()
    for module, editors in itertools.groupby(_baselines(), operator.itemgetter(0)):
        title, about = module.rpartition(".")[2].replace("_", " "), str(sys.modules[module].__doc__)
        lines += [f"## {title.capitalize()}\n", about.partition("\n")[0] + "\n"]
        lines += [_entry(module, name, "latentedit.editors") for _, name in editors]
    return _BASELINES.sub(lambda _: "".join(f"{line}\n" for line in lines), page)


def python_pages() -> dict[Path, str]:
    """The pages of public modules: between their marks, the names that no page has by hand."""
    pages = {page: page.read_text(encoding="utf-8") for page in sorted(PYTHON.glob("*.md"))}
    pages[EDITORS_PAGE] = editors_page(pages[EDITORS_PAGE])
    by_hand = {name for text in pages.values() for name in _ENTRIES.findall(_ROOM.sub("", text))}
    return {
        page: _ROOM.sub(lambda found: f"<!--room {found[1]}-->\n{_room_part(found[1], by_hand)}", text)
        for page, text in pages.items()
    }


def exported(room: str) -> list[tuple[str, str]]:
    """Module and name of what a public module exports, where each is defined."""
    listed = _EXPORT.findall(Path(str(importlib.import_module(room).__file__)).read_text(encoding="utf-8"))
    return sorted((_home(module, name), name) for module, name in listed if module != room)


def _home(module: str, name: str) -> str:
    """The module that defines a name; mkdocstrings does not follow imports into other packages."""
    tree = ast.parse(Path(str(importlib.import_module(module).__file__)).read_text(encoding="utf-8"))
    imports = [line for line in tree.body if isinstance(line, ast.ImportFrom)]
    found = [str(line.module) for line in imports if name in [one.name for one in line.names]]
    return _home(found[0], name) if found else module


def _room_part(room: str, by_hand: Collection[str]) -> str:
    """Sections of a public module, one for each module that defines some of its names."""
    lines = list[str]()
    for module, found in itertools.groupby(exported(room), operator.itemgetter(0)):
        names = [name for _, name in found if f"{room}.{name}" not in by_hand]
        if names:
            about = " ".join(str(importlib.import_module(module).__doc__).partition("\n\n")[0].split())
            lines += [f"## {module.rpartition('.')[2].replace('_', ' ').capitalize()}\n", f"{about}\n"]
            lines += [_entry(module, name, room) for name in names]
    return "".join(f"{line}\n" for line in lines)


def _entry(module: str, name: str, room: str) -> str:
    """A public name; by its definition where that is in another package, into which mkdocstrings does not look."""
    if module.partition(".")[0] == room.partition(".")[0]:
        return f"::: {room}.{name}\n"
    return f"::: {module}.{name}\n    options:\n      heading: {room}.{name}\n"


def exports(text: str) -> str:
    """The text of a package, which exports the registered editors as well; in ruff's order."""
    names = {*_EXPORT.findall(text), *_baselines()}
    order = sorted(names, key=lambda one: (one[0], not one[1].isupper(), one[1].islower(), one[1].lower()))
    head, *_, tail = _EXPORT.split(text)
    return head + "".join(f"    from {module} import {name} as {name}\n" for module, name in order) + tail


def search_page(page: str) -> str:
    """The page with the formulas between its marks, which are those of the docstring of `eim`."""
    block = (inspect.getdoc(editor_class("eim")) or "").split("::\n\n")[1].split("\n\n")[0]
    return _FORMULAS.sub(lambda _: f"```text\n{textwrap.dedent(block)}\n```\n", page)


def _method_row(name: str, latent: JointLatent) -> str:
    editor = make_editor(name, latent.backbone)
    about = " ".join((inspect.getdoc(type(editor)) or "").split("\n\n")[0].split()).rstrip(".")
    links = ", ".join(f"[{arxiv}](https://arxiv.org/abs/{arxiv})" for arxiv in papers_of(type(editor)))
    same = "yes" if editor.keeps_equal_texts else "no"
    return f"| `{name}` | {about} | {links} | {editor.evaluations(latent)} | {same} |"


def paper_tables(page: str) -> str:
    """The page with the claims of each paper between its marks: a table, what each number is, and the plots."""
    records, old = read_records(STORED), outdated()

    def part(mark: re.Match[str]) -> str:
        chosen = [one for one in records if one.paper == PAPERS[mark[1]]]
        return f"{mark[1]}-->\n" + "\n".join([*_claim_rows(chosen, old), "", *_details(chosen), ""])

    return _PAPER.sub(part, page)


def _variant(record: Record) -> tuple[str, str]:
    """The claim that a record decides, and the setting in which it differs from the claim's own, or ""."""
    base, _, how = record.claim.removesuffix(")").rpartition(" (")
    return (base, how) if base and record.claim.endswith(")") else (record.claim, "")


def _claim_rows(records: Sequence[Record], outdated: Sequence[str]) -> Iterator[str]:
    """A row for each claim, with its networks side by side; a claim with other settings stands below it."""
    yield f"| claim | {' | '.join(_NETWORKS)} | other networks | `latentedit reproduce` |"
    yield f"|{' --- |' * 5}"
    first = {_variant(one)[0]: one.name for one in reversed(records)}
    for record in sorted(records, key=lambda one: (first[_variant(one)[0]], bool(_variant(one)[1]), one.name)):
        how = _variant(record)[1]
        name = f"`{record.name}`{' (older weights or plan)' if record.name in outdated else ''}"
        cells = {one.model: _decision(one) for one in record.primary}
        others = [f"{model}: {cell}" for model, cell in cells.items() if model not in _NETWORKS]
        claim = f'<span id="{record.name}"></span>{f"the same, {how}" if how else record.sentence}'
        yield f"| {' | '.join([claim, *(cells.get(one, '') for one in _NETWORKS), '; '.join(others), name])} |"


def _decision(outcome: Outcome) -> str:
    unit = outcome.unit if outcome.unit in ("%", "rad") else "%" if outcome.scale == 100 else ""
    number = " ".join(outcome.text.replace(outcome.unit, unit, 1).split())
    return f"{outcome.verdict.removesuffix(' at this size')}, {number}"


def _measured(records: Sequence[Record]) -> Iterator[str]:
    """A line for each claim: the number that decides it, and the first paragraph of its notes."""
    for record in records:
        if not _variant(record)[1]:
            outcome = record.primary[0]
            share = "as a share " if outcome.unit.startswith("of") else "in "
            unit = f", {share}{outcome.unit}" if outcome.unit else ""
            images = ", ".join(dict.fromkeys(str(one.images) for one in record.primary))
            about = " ".join(record.notes.partition("\n\n")[0].split())
            yield f"* `{record.name}`: {outcome.measure}{unit}; {images} images. {about}"


def _details(records: Sequence[Record]) -> Iterator[str]:
    drawn = [one.name for one in records if (FIGURES / f"{one.name}.webp").exists()]
    yield "<details markdown><summary>What each number is, and plots</summary>\n"
    yield from _measured(records)
    yield ""
    yield from (f"![{name}](../images/results/claims/{name}.webp)\n" for name in drawn)
    yield "</details>"


def outdated() -> list[str]:
    """Experiments that were measured by another plan than theirs of today, or on other weights."""
    names: list[str] = []
    for record in read_records(STORED):
        experiment = make_experiment(record.name)
        if record.plan != plain(experiment.plan) or record.changed_weights(experiment):
            names.append(record.name)
    return names


if __name__ == "__main__":
    main()
