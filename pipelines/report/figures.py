"""One look for every figure: colours, axes, PNG for MLflow, SVG in the page's colours."""

import io
import re
from pathlib import Path
from typing import IO, Any
from weakref import WeakKeyDictionary

import matplotlib as mpl
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe & Ito's palette, told apart also by colour-blind readers. The page replaces each of these
# colours by a variable of its own style sheet, so that a dark page has light lines.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#6b7280")
INK, SOFT, GRID = "#1b1f24", "#5b6572", "#e2e6ea"
_VARIABLES = {INK: "--ink", SOFT: "--soft", GRID: "--line"} | {
    colour: f"--c{i}" for i, colour in enumerate(COLOURS)
}
_HALF = 7.0
"""Inches; wider figures do not stand two in a line."""
DOTS_PER_INCH = 150
"""Of a PNG; an SVG has none."""
LOOK: Any = {
    "font.size": 10,
    "font.family": "sans-serif",
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: sharp, small, selectable
}


def is_wide(figure: Figure) -> bool:
    """Whether it takes the whole width of a page; in half of it, its letters were too small."""
    return figure.get_figwidth() > _HALF


def as_svg(figure: Figure, name: str, of: str = "") -> str:
    """Returns a figure as an `<svg>` element in the colours and type of the page around it.

    Args:
        figure: as `curves` makes it.
        name: distinguishes the figures of a page.
        of: the result, where a page has several.
    """
    known = _SVG.setdefault(figure, {})  # a page that grows is written several times
    if (name, of) not in known:
        known[name, of] = _as_svg(figure, name, of)
    return known[name, of]


def _as_svg(figure: Figure, name: str, of: str) -> str:
    with mpl.rc_context({**LOOK, "svg.hashsalt": f"{name} {of}"}):
        _lay_out(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = re.sub(r"<metadata>.*?</metadata>", "", text.getvalue(), flags=re.DOTALL)
    svg = re.sub(r"font: (?:\d+ )?([\d.]+)px [^;\"]+", r"font-size: \1px", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    used = set(re.findall(r"#([\w.-]+)", svg))  # the others are alike in all figures of a page
    svg = re.sub(r' id="([^"]*)"', lambda id_: id_[0] if id_[1] in used else "", svg)
    label = escape(", ".join(part for part in (name.replace("_", " "), of) if part))
    svg = svg[svg.index("<svg") :].replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    told = escape(described(figure))
    return svg.replace(">", f"><desc>{told}</desc>", 1) if told else svg


def described(figure: Figure) -> str:
    """What is drawn, for who cannot see it: titles, axes and lines; tables have the numbers."""
    parts = [_described(axes) for axes in figure.axes]
    return " ".join(dict.fromkeys(f"{part}." for part in parts if part))


def _described(axes: Axes) -> str:
    _, names = axes.get_legend_handles_labels()
    over = f"{axes.get_ylabel()} over {axes.get_xlabel()}"
    parts = [
        axes.get_title("left") or axes.get_title(),
        over if axes.get_ylabel() and axes.get_xlabel() else "",
        ", ".join(dict.fromkeys(names)),
    ]
    return "; ".join(" ".join(part.split()) for part in parts if part)


def save_png(figure: Figure, file: Path | IO[bytes]) -> None:
    """Writes a figure on white, for MLflow's artifact view or into a page."""
    if figure not in _PNG:  # the file and the page want the same one
        with mpl.rc_context(LOOK):
            _lay_out(figure)
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, facecolor="white")
        _PNG[figure] = buffer.getvalue()
    if isinstance(file, Path):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_PNG[figure])
    else:
        file.write(_PNG[figure])


_PNG: WeakKeyDictionary[Figure, bytes] = WeakKeyDictionary()
_SVG: WeakKeyDictionary[Figure, dict[tuple[str, str], str]] = WeakKeyDictionary()


def _lay_out(figure: Figure) -> None:
    """Finds the places of axes and letters once: matplotlib would twice each time it is drawn."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")


def drawn(width: float = 5.6, height: float = 3.5) -> tuple[Figure, Axes]:
    """An empty figure in the look of the pages."""
    with mpl.rc_context(LOOK):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots()
