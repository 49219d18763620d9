"""Pages from templates; HTML pages are single files without external resources."""

import jinja2
from markupsafe import Markup

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("latentedit_bench.report", "templates"),
    autoescape=lambda name: name is not None and name.endswith(".html.jinja"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)

_TROUBLE = str.maketrans({letter: f"\\{letter}" for letter in "\\`*<"})


def page(title: str, body: str) -> str:
    """A self-contained HTML5 document, light or dark as the reader's system is, that fits 360 px and prints.

    Each table scrolls in a box of its own. A click on a column's head sorts by the ``data-value`` of cells, or by their
    text; cells with "-" come last. The body is trusted.
    """
    boxed = body.replace("<table", '<div class="table" tabindex="0"><table').replace("</table>", "</table></div>")
    return render_page("page.html", title=title, body=Markup(boxed))


def render_page(name: str, **values: object) -> str:
    """One of the package's templates. In HTML text is escaped, and `Markup` is not; see `_literal` and `_cell`."""
    return _TEMPLATES.get_template(f"{name}.jinja").render(**values)


def _literal(text: object) -> str:
    """A text as literal Markdown on one line."""
    return " ".join(str(text).split()).translate(_TROUBLE)


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|")


_TEMPLATES.filters |= {"literal": _literal, "cell": _cell}
