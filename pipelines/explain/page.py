"""The page of `assay explain`: one HTML file that needs nothing beside it."""

import base64
from pathlib import Path

import jinja2
from markupsafe import Markup

from callbacks.monitoring.outliers import score_title
from callbacks.monitoring.score import PARTS
from callbacks.results import records
from callbacks.words import ends, number, percent
from pipelines.evaluate.page import bar
from pipelines.explain.result import Explanation
from pipelines.report.figures import as_svg

_PHOTOGRAPHS = ("gallery", "units", "tree", "changes", "features")
"""Figures that hold pictures or hundreds of boxes: smaller and quicker as they are on disk."""
_HERE = Path(__file__).parent
_STYLE = _HERE.parent / "report" / "style.css"


def write_page(explanation: Explanation, file: Path) -> Path:
    """Writes the page beside the saved explanation and returns the file."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "number": number}
    figures = {
        name: _photograph(file.parent / "figures" / f"{name}.png", name)
        if name in _PHOTOGRAPHS
        else Markup(as_svg(figure, name))  # the figures' text is our own, escaped by matplotlib
        for name, figure in explanation.figures.items()
    }
    html = environment.get_template("explain.html.jinja").render(
        of=explanation,
        figures=figures,
        style=_STYLE.read_text(encoding="utf-8"),
        scales=PARTS,
        records=records,
        ends=ends,
        bar=bar,
        score_title=score_title,
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(html, encoding="utf-8")
    return file


def _photograph(file: Path, name: str) -> Markup:
    data = base64.b64encode(file.read_bytes()).decode()
    return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(name, data)
