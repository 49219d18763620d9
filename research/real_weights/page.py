"""The page: one HTML file with relative images, for a person who has never seen the project."""

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from research.real_weights import photographs
from research.real_weights.summary import CONTROLS, Finding, bound, photograph_rows

WHAT = (
    "latentedit changes one thing in a photograph, such as the color of a coat, by moving the photograph inside the "
    "latent space of a text-to-image model that was never trained for editing. It reports how much of the change the "
    "model sees and how well the model knows the photograph, and it can undo every edit bit for bit."
)

HOW = (
    "This page was written by a script that tried one model. It compares numbers with criteria that were set before "
    "the run; they are at the end of the page."
)

_HEADINGS = {
    "works": "What works",
    "does not work": "What does not work",
    "not checked": "What could not be checked",
    "number": "Numbers without a judgment",
}

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1060px; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a;
  background: #fff; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 14px; }
td, th { border: 1px solid #ccc; padding: .3rem .5rem; text-align: left; vertical-align: top; }
figure { display: inline-block; width: 31%; min-width: 150px; margin: 0 1% 1rem 0; vertical-align: top; }
.six figure { width: 15%; } figure img { width: 100%; image-rendering: auto; }
td img { width: 110px; } td b { color: #444; } .sheet { width: 100%; }
figcaption, small { font-size: 13px; color: #444; }
.works { border-left: 6px solid #2a7a3b; } .does-not-work { border-left: 6px solid #b3261e; }
.not-checked { border-left: 6px solid #8a6d00; } .number { border-left: 6px solid #888; }
ul.findings { list-style: none; padding: 0; } ul.findings li { padding: .3rem .8rem; margin: .4rem 0; }
.failed { background: #fdecea; padding: .5rem 1rem; } .wide { overflow-x: auto; }
"""


def page(report: Mapping[str, Any], findings: Sequence[Finding]) -> str:
    """The HTML of a report, whose images are in the folder ``images`` next to it."""
    about, parts = report["about"], report["parts"]
    body = [
        f"<h1>latentedit on {_text(about['model'])}</h1>",
        f"<p>{_text(WHAT)}</p>",
        f"<p>{_text(HOW)}</p>",
        "<h2>Summary</h2>",
        *_summary(findings),
        "<h2>The model and this run</h2>",
        _table((), _about_rows(about, parts)),
        "<h2>1. The same image by the pipeline and by latentedit</h2>",
        *_section(parts, "parity", lambda found: _parity(found, about)),
        "<h2>2. One photograph edited</h2>",
        *_section(parts, "edit", _edit),
        "<h2>3. Six strengths of the same edit</h2>",
        *_section(parts, "sweep", _sweep),
        "<h2>4. Ten photographs</h2>",
        *_section(parts, "calibration", _calibration),
        *_photographs(parts, report["contact"]),
        "<h2>5. Memory</h2>",
        *_section(parts, "memory", _memory),
        "<h2>Criteria, written before the run</h2>",
        f"<pre style='white-space: pre-wrap'>{_text(report['criteria'])}</pre>",
        "<h2>Photographs and their rights</h2>",
        f"<p>{_text(photographs.SOURCE)}. Rights as its documentation states them:</p>",
        _table(("photograph", "rights"), [(one.name, one.rights) for one in photographs.PHOTOGRAPHS]),
        "<p><small>All numbers are in report.json.</small></p>",
    ]
    title = _text(f"latentedit on {about['model']}")
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>{title}</title>"
        "<meta name='viewport' content='width=device-width'>"
        f"<style>{_STYLE}</style></head><body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _summary(findings: Sequence[Finding]) -> list[str]:
    lines = list[str]()
    for kind, heading in _HEADINGS.items():
        some = [one for one in findings if one.kind == kind]
        if some:
            items = "".join(f"<li class='{kind.replace(' ', '-')}'>{_text(one.text)}</li>" for one in some)
            lines.append(f"<h3>{heading}</h3><ul class='findings'>{items}</ul>")
    return lines


def _about_rows(about: Mapping[str, Any], parts: Mapping[str, Any]) -> list[tuple[str, str]]:
    networks = "; ".join(
        f"{name}: {row['class']}, {row['millions']:.4g} million" for name, row in about["parts"].items()
    )
    seconds = sum(part.get("seconds", 0.0) for part in parts.values())
    peaks = dict[str, int]()
    for name, part in parts.items():
        title = "photographs" if name.startswith("photograph-") else part["title"]
        peaks[title] = max(peaks.get(title, 0), part.get("peak_bytes", 0))
    shown = ", ".join(f"{title} {_size(size)}" for title, size in peaks.items())
    return [
        ("pipeline", about["pipeline"]),
        ("network that is tried", f"{about['network']}, {about['adapter']}"),
        ("parameters", networks),
        ("precision and device", f"{about['dtype']} on {about['device']}"),
        ("image size, guidance", f"{about['size_px']} px, {about['guidance']:g} ({about['guidance_kind']})"),
        ("software", ", ".join(f"{name} {version}" for name, version in about["versions"].items())),
        ("date, time taken", f"{about['date']}, {seconds / 60:.1f} minutes, and {about['load_seconds']:.0f} s to load"),
        ("highest memory" + ("" if about["resettable"] else " of the process so far"), shown),
        ("command", about["command"]),
        ("fingerprint of the weights", about["fingerprint"]),
    ]


def _section(parts: Mapping[str, Any], name: str, write: Any) -> list[str]:
    part = parts.get(name)
    if part is None:
        return ["<p class='failed'>This part was not reached.</p>"]
    if part["status"] != "finished":
        return [f"<p class='failed'>This part was not finished: {_text(part['error'])}</p>"]
    return list(write(part["result"]))


def _parity(found: Mapping[str, Any], about: Mapping[str, Any]) -> Iterable[str]:
    yield (
        f"<p>Both start at the same noise, with {found['steps']} steps, guidance {found['guidance']:g} and the text "
        f"“{_text(found['prompt'])}”. {_text(found['sampler'])} If latentedit reads the model correctly, both "
        "images are the same up to rounding.</p>"
    )
    yield _figures(found["images"])
    most, _ = bound(found, about["dtype"])
    rows = [
        ("latentedit and the pipeline", found, f"at most {most:.1e}"),
        *(
            (f"the same with {name} ({found[name]['rounding']})", found[name], "the smaller one counts")
            for name in ("rounded times",)
            if name in found
        ),
        *((f"the pipeline and itself, {name}", found[name], "control") for name in CONTROLS),
        ("latentedit with another caption", found["other caption"], "control: much larger"),
    ]
    yield _table(
        ("final latents of", "relative difference", "largest, in deviations", "mean, in deviations", "criterion"),
        [
            (name, *((f"{row[key]:.1e}" for key in ("relative", "largest", "mean")) if "relative" in row else
                     (row["error"], "", "")), criterion)
            for name, row, criterion in rows
        ],
    )  # fmt: skip
    yield (
        f"<p>Mean difference of the two images: {found['image_levels']:.2f} of 255 levels. Seconds: pipeline "
        f"{found['stock_seconds']:.1f}, latentedit {found['seconds']:.1f} ({found['evaluations']} evaluations of the "
        "network).</p>"
    )


def _edit(found: Mapping[str, Any]) -> Iterable[str]:
    before, after = found["prompts"]
    yield f"<p>From “{_text(before)}” to “{_text(after)}”.</p>"
    for row in found["edits"]:
        yield f"<h3>Method {_text(row['method'])}</h3>"
        yield _figures(row["images"])
        yield f"<p>{_text(_sentence(row))}</p>"
        yield from (f"<p><small>Note: {_text(note)}</small></p>" for note in row["notes"])
    yield (
        "<p><small>Third image: gray is the change, where a channel moved by more than 8 of 255 levels; elsewhere "
        "white is an unchanged pixel, and colors are differences, 16 times as large as they are.</small></p>"
    )


def _sweep(found: Mapping[str, Any]) -> Iterable[str]:
    figures = {f"strength {row['strength']:.1f}": row["images"][""] for row in found["edits"]}
    yield f"<div class='six'>{_figures(figures)}</div>"
    columns = ("strength", "mean change, levels of 255", "pixels that changed", "verdict of the model")
    yield _table(
        columns,
        [
            (f"{row['strength']:.1f}", f"{row['mean_levels']:.2f}", f"{row['changed']:.1%}", row["verdict"])
            for row in found["edits"]
        ],
    )


def _calibration(found: Mapping[str, Any]) -> Iterable[str]:
    yield (
        f"<p>Before, the model drew {found['drawn']} images of its own, to measure what it knows: "
        f"{_text(found['text'])}. This calibration is stored in this folder alone.</p>"
    )


def _photographs(parts: Mapping[str, Any], contact: str | None) -> Iterable[str]:
    rows = photograph_rows(parts)
    if contact:
        yield "<p>Each photograph and its edit; the table has their numbers.</p>"
        yield f"<img class='sheet' src='images/{contact}' alt='contact sheet'>"
    numbers = ("changed", "identical outside", "identical after keep", "seconds", "evaluations")
    head = ("photograph", "edited", "outside of the change", "texts, familiarity, verdict", *numbers)
    cells = list[str]()
    for one in photographs.PHOTOGRAPHS:
        row = rows.get(one.name)
        if row is None:
            error = parts.get(f"photograph-{one.name}", {}).get("error", "This part was not reached.")
            text = f"<td colspan='{len(head) - 1}' class='failed'>{_text(error)}</td>"
            cells.append(f"<tr><td>{one.name}</td>{text}</tr>")
            continue
        images = (f"<td><img src='images/{file}' alt='{_text(label)}'></td>" for label, file in row["images"].items())
        words = {
            "From": one.source_prompt,
            "To": one.prompt,
            "Known to the model?": row["familiarity"] or "not checked",
            "Verdict of the model": row["verdict"],
        }
        plain = (
            f"{row['changed']:.1%}",
            _share(row["identical"]),
            "failed" if row["identical_kept"] is None else f"{row['identical_kept']:.1%}",
            f"{row['seconds']:.1f}",
            f"{row['evaluations']:.0f} + {row['verdict_evaluations'] + row['guard_evaluations']:.0f}",
        )
        text = "<br>".join(f"<b>{name}</b> {_text(value)}" for name, value in words.items())
        cells.append(f"<tr>{''.join(images)}<td>{text}</td>{''.join(f'<td>{cell}</td>' for cell in plain)}</tr>")
    top = "".join(f"<th>{name}</th>" for name in head)
    yield f"<div class='wide'><table><tr>{top}</tr>{''.join(cells)}</table></div>"
    yield (
        "<p><small>“Identical outside”: share of the pixels outside of the change that are the photograph's "
        "bit for bit. “After keep”: the same of all pixels once latentedit.keep put the change on the original. "
        "Evaluations: of the edit, and of judging it and the photograph.</small></p>"
    )


def _memory(found: Mapping[str, Any]) -> Iterable[str]:
    yield _table(("while", "highest memory"), [(name, _size(size)) for name, size in found["peaks"].items()])
    if not found["resettable"]:
        yield "<p>A CPU counts the highest memory of the process so far, so later rows include earlier ones.</p>"


def _sentence(row: Mapping[str, Any]) -> str:
    """One edit in words."""
    rest = "differ in nothing" if row["rest_psnr_db"] is None else f"agree to {row['rest_psnr_db']:.0f} dB"
    known = f" The photograph is {row['familiarity']}." if row["familiarity"] else ""
    undone = "yes, bit for bit" if row["undone"] else "no"
    return (
        f"Verdict of the model: {row['verdict']}.{known} {row['changed']:.1%} of the pixels changed; the others "
        f"{rest}, {_share(row['identical'])} of them are identical. {row['seconds']:.1f} s and "
        f"{row['evaluations']:.0f} evaluations. Undo gave the photograph back: {undone}."
    )


def _figures(files: Mapping[str, str]) -> str:
    return "".join(
        f"<figure><img src='images/{file}' alt='{_text(label)}'><figcaption>{_text(label)}</figcaption></figure>"
        for label, file in files.items()
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = f"<tr>{''.join(f'<th>{_text(name)}</th>' for name in head)}</tr>" if head else ""
    lines = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<div class='wide'><table>{top}{lines}</table></div>"


def _share(share: float | None) -> str:
    return "none left" if share is None else f"{share:.1%}"


def _size(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def _text(text: object) -> str:
    return html.escape(str(text), quote=True)
