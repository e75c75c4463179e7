"""Watching a model: activations, drift, anomalous input, failures, and the monitorability score."""

from callbacks.monitoring.budget import BUDGETS, Item, Plan, best_panel, check_count
from callbacks.monitoring.drift_test import DriftTest, Order
from callbacks.monitoring.failure import failure_table
from callbacks.monitoring.monitor import Monitor
from callbacks.monitoring.monitor_report import MonitorReport, Window
from callbacks.monitoring.outliers import SCORES, OutlierFit
from callbacks.monitoring.score import (
    PARTS,
    Evidence,
    FailureEvidence,
    MonitorabilityScore,
    monitorability,
)
from callbacks.monitoring.separation import separation, separation_table
from callbacks.monitoring.streaming import LayerStatistics

__all__ = [
    "BUDGETS",
    "PARTS",
    "SCORES",
    "DriftTest",
    "Evidence",
    "FailureEvidence",
    "Item",
    "LayerStatistics",
    "Monitor",
    "MonitorReport",
    "MonitorabilityScore",
    "Order",
    "OutlierFit",
    "Plan",
    "Window",
    "best_panel",
    "check_count",
    "failure_table",
    "monitorability",
    "separation",
    "separation_table",
]
