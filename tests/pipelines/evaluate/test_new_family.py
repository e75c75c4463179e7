"""A family that exists only here is found everywhere, without an edit elsewhere."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

import callbacks
from callbacks import Entry, Family, Measurement, Probe, Queries, Samples, Setting
from callbacks.family import Number, Summary
from callbacks.reductions import accuracy
from callbacks.results import ProbeResult
from pipelines.report.result import load_result

Assay = Callable[..., tuple[int, str, str]]


class Darker(Probe):
    """Accuracy on darker images."""

    family, title, unit, name = "light", "Darker", "stops", "darker"
    factor = 0.5

    def settings(self) -> tuple[Setting, ...]:
        return tuple(Setting(self.name, step, float(step)) for step in (1, 2))

    def measure(
        self, model: Queries, samples: Samples, settings: Sequence[Setting]
    ) -> Iterator[Measurement]:
        for setting in settings:
            yield Measurement(setting, model(samples.image * self.factor**setting.value))


class Brighter(Darker):
    """Accuracy on brighter images."""

    title, name, factor = "Brighter", "brighter", 0.9


def summarise(results: Sequence[ProbeResult], clean: ProbeResult | None) -> Summary:
    share = accuracy(results[0].at_headline)
    return Summary({"light_acc": Number("In the dark", share, "%", "two stops")}, ["It is dark."])


FAMILY = Family(
    "light", "Less light", "Images with less light.",
    {"darker": Entry(Darker), "brighter": Entry(Brighter)}, summarise,
    terms={"stop": "Half of the light."}, presets={"quick": ("darker",)},
)  # fmt: skip


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(callbacks.FAMILIES, "light", FAMILY)


def command(lenet: Path, *more: str) -> list[str]:
    model = ["--model", f"checkpoint:{lenet}", "--arch", "lenet", "--data", "Digits"]
    return ["evaluate", *model, "--data.limit", "20", *more]


@pytest.mark.usefixtures("registered")
def test_rows_keys_curve_card_and_sentence(assay: Assay, home: Path, lenet: Path) -> None:
    code, out, err = assay(*command(lenet, "--probes", "darker", "brighter"))
    assert code == 0, err
    (folder,) = (home / "mlruns" / "results").iterdir()
    result: Any = load_result(folder)
    assert [one.name for one in result.results] == ["clean", "darker", "brighter"]
    assert len(result.result("darker").rows) == 40
    client = MlflowClient(f"sqlite:///{home / 'mlruns' / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("assay").experiment_id])
    steps = {p.step for p in client.get_metric_history(run.info.run_id, "light/darker_acc")}
    assert steps == {0, 1, 2}
    assert "summary/light_acc" in run.data.metrics
    assert "It is dark." in run.data.tags["mlflow.note.content"]
    assert "It is dark." in out
    assert "Brighter" in out
    page = (folder / "report.html").read_text()
    for text in ("Less light", "Images with less light.", "In the dark", "Half of the light."):
        assert text in page
    assert {"light_stops_acc", "light_stops_loss"} <= result.figures().keys()


@pytest.mark.usefixtures("registered")
def test_presets_and_suggestions_follow(assay: Assay, lenet: Path) -> None:
    code, _, err = assay(*command(lenet, "--probes", "darkr"))
    assert (code, "Did you mean 'darker'?" in err) == (2, True)
    assert "darker" in callbacks.preset_probes("quick")
