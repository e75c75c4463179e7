"""One self-contained HTML file, the same figures for MLflow, and the table in the terminal."""

from pipelines.report.figures import curves
from pipelines.report.html import write_report
from pipelines.report.terminal import print_summary

__all__ = ["curves", "print_summary", "write_report"]
