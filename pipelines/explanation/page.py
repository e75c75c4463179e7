"""The page of `assay explain`: one HTML file that needs nothing beside it."""

from pathlib import Path

import jinja2
from markupsafe import Markup

from callbacks.monitoring.outliers import score_title
from callbacks.monitoring.score import PARTS
from pipelines.explanation.result import Explanation
from pipelines.report.figures import as_svg
from pipelines.report.html import bar
from pipelines.report.words import ends, number, percent
from pipelines.results import records

_HERE = Path(__file__).resolve().parents[1] / "report"


def write_page(explanation: Explanation, file: Path) -> Path:
    """Writes the page and returns the file."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "number": number}
    figures = {
        name: Markup(as_svg(figure, name)) for name, figure in explanation.figures.items()
    }  # the figures' text is our own, escaped by matplotlib
    html = environment.get_template("explain.html.jinja").render(
        of=explanation,
        figures=figures,
        style=(_HERE / "report.css").read_text(encoding="utf-8"),
        scales=PARTS,
        records=records,
        ends=ends,
        bar=bar,
        score_title=score_title,
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(html, encoding="utf-8")
    return file
