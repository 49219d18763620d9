"""The task in the words of catalogues: Croissant for data sets, ``eval.yaml`` for leaderboards on the hub."""

import json
from typing import Any

import yaml

from latentedit_bench.domains.base import Scalable
from latentedit_bench.open_task.task import PUBLIC, RELEASED, TaskSpec

_LICENSE_URL = "https://www.apache.org/licenses/LICENSE-2.0"
_CREATOR = "The latentedit maintainers"

_TERMS = (
    "citeAs column equivalentProperty extract field fileObject fileProperty fileSet format includes isLiveDataset "
    "jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate separator source "
    "subField transform"
)
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    **{term: f"cr:{term}" for term in _TERMS.split()},
}
"""The context of Croissant 1.0, which every description repeats."""

_FIELDS = {
    "id": ("sc:Text", "Unique; begins with the split."),
    "image": ("sc:Text", "File of the picture to edit, in this folder."),
    "source_caption": ("sc:Text", "What the picture is said to show; in some items wrong about one thing."),
    "target_caption": ("sc:Text", "What the edited picture should show."),
    "instruction": ("sc:Text", "The same request as a sentence."),
    "strengths": ("sc:Float", "At which an edit is asked for; 1 is the whole change."),
    "outputs": ("sc:Text", "Where the edit at each strength is looked for, in this folder."),
    "then_captions": ("sc:Text", "What is asked after that, one after the other, each of the edit before."),
    "then_instructions": ("sc:Text", "The same requests as sentences."),
    "then_outputs": ("sc:Text", "Where each of these edits is looked for."),
}
"""Fields of a line of the items' file: type and description."""

_EDITED = {"edited": ("sc:Text", "File of an edit of the picture, whose change alone is to be kept.")}
"""Of tasks that ask to keep."""

_REPEATED = ("strengths", "outputs", "then_captions", "then_instructions", "then_outputs")


def describe(spec: TaskSpec) -> str:
    """The task in two or three sentences."""
    given = "" if spec.asks == "edit" else " Of an edit that is given with each, only its change is to be kept."
    return (
        f"{spec.items} rendered pictures of {spec.size} x {spec.size} pixels from the domain {spec.domain!r}, each "
        "with a caption before and after, an instruction, and the strengths at which an edit is asked for. The right "
        "answer to every edit is the same scene rendered with the asked change alone; it is not in the data."
        f"{given}"
    )


def croissant(spec: TaskSpec, world: Scalable, *, items_digest: str) -> str:
    """The metadata as JSON-LD.

    Args:
        spec: of the task.
        world: its domain.
        items_digest: SHA-256 of ``items.jsonl``.

    Source:
        Croissant format specification 1.0; https://docs.mlcommons.org/croissant/docs/croissant-spec.html
    """
    keeps = spec.asks == "keep"
    fields = _FIELDS | (_EDITED if keeps else {})
    sets = {"images": "The pictures to edit."} | ({"edited": "An edit of each."} if keeps else {})
    told = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": f"{spec.name}-{spec.split}-{spec.size}",
        "description": describe(spec),
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": _LICENSE_URL,
        "url": ".",
        "version": spec.version,
        "datePublished": RELEASED if spec.split == PUBLIC else f"{spec.split}-01",
        "creator": {"@type": "Organization", "name": _CREATOR},
        "citeAs": f"{_CREATOR}: {spec.title}.",
        "isLiveDataset": False,
        "rai:dataCollection": f"Rendered by a program from a seed; nothing was collected. {world.credits}",
        "rai:personalSensitiveInformation": "None: the scenes are drawn at random and show no real person.",
        "rai:dataUseCases": "Measuring editors of pictures; no training set.",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "items.jsonl",
                "name": "items.jsonl",
                "description": "One item a line.",
                "contentUrl": "items.jsonl",
                "encodingFormat": "application/jsonlines",
                "sha256": items_digest,
            },
            *(_pictures(name, description) for name, description in sets.items()),
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "items",
                "name": "items",
                "description": "What is asked.",
                "key": {"@id": "items/id"},
                "field": [_field(name, *about) for name, about in fields.items()],
            }
        ],
    }
    return f"{json.dumps(told, indent=1)}\n"


def _pictures(name: str, description: str) -> dict[str, str]:
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "description": description,
        "encodingFormat": "image/png",
        "includes": f"{name}/*.png",
    }


def _field(name: str, kind: str, description: str) -> dict[str, Any]:
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"items/{name}",
        "name": name,
        "description": description,
        "dataType": kind,
        "source": {"fileObject": {"@id": "items.jsonl"}, "extract": {"column": name}},
    }
    return field | ({"repeated": True} if name in _REPEATED else {})


def eval_yaml(spec: TaskSpec) -> str:
    """What makes a data set on the hub a benchmark.

    Source:
        https://huggingface.co/docs/hub/eval-results, read in November 2026, when it was in beta.
    """
    told = {
        "name": spec.name,
        "description": describe(spec),
        "evaluation_framework": "latentedit",
        "tasks": [{"id": f"{spec.name}-{spec.size}", "config": "default", "split": "test"}],
    }
    return yaml.safe_dump(told, sort_keys=False, width=100)
