"""Curves with their intervals."""

import io
import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipelines.evaluation import Evaluation, ProbeResult

# Okabe & Ito's palette, told apart also by colour-blind readers; dark yellow instead of yellow.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#B8860B", "#555555")
_STYLES = ("-", "--", ":", "-.")
_LOOK = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "svg.fonttype": "none",  # text stays text: sharp, small, selectable
    "font.family": "sans-serif",
}


def curves(evaluations: Sequence[Evaluation]) -> dict[str, Figure]:
    """Draws accuracy and loss against epsilon, a figure a norm.

    Colours are attacks and line styles are models; bands are 95 % intervals.

    Args:
        evaluations: of one model, or of several to lay side by side.

    Returns:
        Figures by file name; none where nothing was attacked.
    """
    found = {}
    for norm, sign in (("linf", "L∞"), ("l2", "L2")):
        if any(evaluation.attacks(norm) for evaluation in evaluations):
            found[f"adversarial_{norm}"] = _figure(evaluations, norm, sign)
    return found


def as_svg(figure: Figure) -> str:
    """Returns a figure as an `<svg>` element."""
    with mpl.rc_context(_LOOK):
        text = io.StringIO()
        figure.savefig(text, format="svg", bbox_inches="tight", transparent=True)
    svg = re.sub(r"<metadata>.*?</metadata>", "", text.getvalue(), flags=re.DOTALL)
    return svg[svg.index("<svg") :]


def save_png(figure: Figure, file: Path) -> None:
    """Writes a figure for MLflow's artifact view."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_LOOK):
        figure.savefig(file, dpi=150, bbox_inches="tight", facecolor="white")


def _figure(evaluations: Sequence[Evaluation], norm: str, sign: str) -> Figure:
    with mpl.rc_context(_LOOK):
        figure = Figure(figsize=(8.6, 3.2), layout="constrained")
        accuracy, loss = figure.subplots(1, 2)
        colours: dict[str, str] = {}
        for evaluation, style in zip(evaluations, _STYLES * len(evaluations), strict=False):
            several = len(evaluations) > 1
            for result in evaluation.attacks(norm):
                colour = colours.setdefault(result.name, _COLOURS[len(colours) % len(_COLOURS)])
                label = f"{evaluation.model['name']}: {result.title}" if several else result.title
                _draw(accuracy, evaluation, result, "acc", 100, colour, style, label)
                _draw(loss, evaluation, result, "worst_loss", 1, colour, style, label)
        accuracy.set(ylabel="accuracy (%)", ylim=(-2, 102), title="Accuracy under attack")
        loss.set(ylabel="cross-entropy (nats)", title="Worst-case loss found")
        for axes in (accuracy, loss):
            axes.set(xlabel=f"epsilon ({sign}, images in [0, 1])")
            axes.set_xlim(left=0)
        accuracy.legend(frameon=False, fontsize=8)
    return figure


def _draw(
    axes: Axes,
    evaluation: Evaluation,
    result: ProbeResult,
    number: str,
    scale: float,
    colour: str,
    style: str,
    label: str,
) -> None:
    """Draws one curve from the clean number on the same samples, with its band."""
    table = result.table.dropna(subset=[number])
    if table.empty:
        return
    clean = evaluation.result("clean")
    value, middle = list(table["value"]), list(table[number] * scale)
    low, high = list(table[f"{number}_low"] * scale), list(table[f"{number}_high"] * scale)
    if clean is not None and len(clean.rows):
        same = clean.rows[clean.rows["index"].isin(result.rows["index"])]
        start = float(same["correct" if number == "acc" else "loss"].mean()) * scale
        value, middle = [0.0, *value], [start, *middle]
        low, high = [start, *low], [start, *high]
    axes.plot(value, middle, style, color=colour, marker="o", markersize=3, label=label)
    axes.fill_between(value, low, high, color=colour, alpha=0.15, linewidth=0)
