"""One self-contained HTML file, the same figures for MLflow, and the table in the terminal."""

from pipelines.report.command import main, report
from pipelines.report.figures import curves, save_png
from pipelines.report.html import write_report
from pipelines.report.terminal import print_summary

__all__ = ["curves", "main", "print_summary", "report", "save_png", "write_report"]
