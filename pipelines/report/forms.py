"""The forms of a report, by the ending of the file that is asked for."""

from collections.abc import Callable, Sequence
from pathlib import Path

from datamodules.errors import UserError
from pipelines.report.document import as_json
from pipelines.report.markdown import as_model_card, write_markdown
from pipelines.report.model_card import Stated
from pipelines.report.page import write_page
from pipelines.report.pdf import write_pdf
from pipelines.report.result import Result

_Write = Callable[[Sequence[Result], Path, Stated | None], Path]


def _write_json(results: Sequence[Result], file: Path, stated: Stated | None) -> Path:
    return _written(file, as_json(results, stated))


def _write_card(results: Sequence[Result], file: Path, stated: Stated | None) -> Path:
    return _written(file, as_model_card(results, stated))


def _written(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


FORMS: dict[str, _Write] = {
    ".html": write_page,
    ".md": write_markdown,
    ".json": _write_json,
    ".pdf": write_pdf,
}
CARD = "MODEL_CARD.md"


def form_of(file: Path) -> _Write:
    """What writes a file of that name.

    Raises:
        UserError: no form has that ending.
    """
    if file.name == CARD:
        return _write_card
    if file.suffix.lower() not in FORMS:
        raise UserError(
            f"Expected `out` to end in {', '.join(FORMS)} (or to be called {CARD}), but got "
            f"{str(file)!r}."
        )
    return FORMS[file.suffix.lower()]
