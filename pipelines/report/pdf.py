"""The PDF twin of the page, printed by the Chromium or Chrome that the machine has."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from datamodules.errors import UserError
from pipelines.report.model_card import Stated
from pipelines.report.page import as_html
from pipelines.report.result import Result

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_PATIENCE = 180
"""Seconds; a page of a hundred figures takes ten."""


def write_pdf(results: Sequence[Result], file: Path, stated: Stated | None = None) -> Path:
    """Prints the page, with its model card open, and returns the file.

    Args:
        results: one, or several side by side.
        file: to write.
        stated: what the user says for the model card.

    Raises:
        UserError: there is no browser, or it does not print.
    """
    program = browser()
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        page, printed = Path(scratch) / "report.html", Path(scratch) / "report.pdf"
        page.write_text(as_html(results, stated, printed=True), encoding="utf-8")
        _print(program, page, printed)
        shutil.copyfile(printed, file)
    return file


def browser() -> str:
    """The program of `ASSAY_CHROMIUM`, else the first known one on the PATH.

    Raises:
        UserError: neither is there.
    """
    asked = os.environ.get("ASSAY_CHROMIUM")
    found = [path for name in ([asked] if asked else _BROWSERS) if (path := shutil.which(name))]
    if found:
        return found[0]
    where = f"at ASSAY_CHROMIUM={asked}" if asked else "on the PATH"
    raise UserError(
        f"A PDF is printed by Chromium or Chrome, and there is none {where}: install one, let "
        "ASSAY_CHROMIUM name its program, or print report.html from any browser."
    )


def _print(program: str, page: Path, printed: Path) -> None:
    words = [
        program, "--headless", "--disable-gpu", "--no-first-run", "--disable-extensions",
        "--disable-background-networking", f"--user-data-dir={page.parent / 'profile'}",
        "--no-pdf-header-footer", f"--print-to-pdf={printed}", page.as_uri(),
    ]  # fmt: skip
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # Chromium has no sandbox for root
        words.insert(1, "--no-sandbox")
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_PATIENCE, check=False)
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:160]
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = str(error)[-160:]
    if not printed.is_file():
        raise UserError(f"{program} did not print the page as PDF: {reason}")
