"""A result as a notebook shows it: the headline with its intervals, and what it means."""

from markupsafe import Markup

from callbacks.words import ends, number, percent
from pipelines.report.result import Result

_ROW = Markup("<tr><td>{}</td><td><b>{}</b></td><td>{}</td><td>{}</td></tr>")


def notebook_html(result: Result) -> str:
    """A short table and sentences; `report` writes the whole page.

    Args:
        result: of any question.
    """
    rows = Markup()
    for shown in result.headline().values():
        if shown.card:
            share = shown.unit == "%"
            value, low, high = shown.interval
            text = f"{percent(value)} %" if share else number(value)
            between = ends(low, high, 100, 1) if share else ends(low, high)
            rows += _ROW.format(shown.title, text, between, shown.note)
    said = Markup("").join(Markup("<p>{}</p>").format(one) for one in result.sentences())
    return Markup("<h4>{}</h4><table>{}</table>{}").format(result.title, rows, said)
