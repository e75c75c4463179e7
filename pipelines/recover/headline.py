"""What a recovery of one model amounts to: the numbers that come first, and plain sentences."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from callbacks.family import Number
from callbacks.results import records
from callbacks.statistics import Interval, rate, student, without_ends
from callbacks.words import number, percent, with_interval
from pipelines.recover.damages import title_of, unit_of
from pipelines.recover.strategies import strategy_named
from pipelines.recover.table import bounded, damages_of, groups, strategy_title

_NEEDS = {
    "original": "a copy of the original",
    "signatures": "checksums stored before the damage",
    "ranges": "activation ranges stored before the damage",
    "location": "to know where the damage is",
    "labels": "labelled images",
    "images": "unlabelled images",
    "clean data": "training data from before the damage",
}
Line = Mapping[str, Any]


def headline(
    rows: pd.DataFrame, lines: pd.DataFrame, advice: Sequence[Line], conditions: str
) -> dict[str, Number]:
    """Accuracy before, damaged and repaired, what came back, and how long it took.

    Of several kinds of damage they are means, each kind at its hardest severity.
    """
    n, acc = int(rows["n"].iloc[0]), float(rows["acc_original"].iloc[0])
    note = f"undamaged, on {n:,} images"
    before = Number("Accuracy before", rate(round(n * acc), n), "%", note, conditions)
    loss = without_ends(lines["loss_original"].iloc[0])
    start = Number("Loss before", loss, "", note, conditions, card=False)
    hardest, chosen = _hardest(lines, advice)
    if not hardest:  # interrupted among the controls
        return {"original_acc": before, "original_loss": start}
    several, best = len(hardest) > 1, strategy_title(chosen[0])
    repair = "the repairs to take" if several else f"{best}{_worked(chosen[0])}"
    asked = f"{conditions} {[(x['damage'], x['severity'], x['draws']) for x in hardest]}"

    def shown(
        title: str, of: Sequence[Line], column: str, unit: str, note: str, card: bool = True
    ) -> Number:
        return Number(title, _mean(of, column), unit, note, asked, card)

    numbers = {
        "original_acc": before,
        "original_loss": start,
        "damaged_acc": shown("Accuracy when damaged", hardest, "acc", "%", _what(hardest)),
        "repaired_acc": shown("Accuracy after repair", chosen, "acc", "%", repair),
        "recovery_ratio": shown("Came back", chosen, "ratio", "", "of what was lost; 1 is all"),
        "repair_seconds": shown("Seconds of the repair", chosen, "seconds", "", repair),
        "damaged_loss": shown("Loss when damaged", hardest, "loss", "", _what(hardest), False),
        "repaired_loss": shown("Loss after repair", chosen, "loss", "", repair, False),
        "negative_flips": shown("Negative flips", chosen, "negative_flips", "%", repair, False),
        "positive_flips": shown("Positive flips", chosen, "positive_flips", "%", repair, False),
    }
    backdoor = shown("Backdoor left", chosen, "asr_repaired", "%", "of images with its trigger")
    return numbers | ({"backdoor_rate": backdoor} if math.isfinite(backdoor.interval.value) else {})


def silent_error_headline(table: pd.DataFrame) -> dict[str, Number]:
    """The rate of silent errors at the last severity that was injected."""
    if table.empty:
        return {}
    line = records(table)[-1]
    share = Interval(line["sdc"], line["sdc_low"], line["sdc_high"])
    note = f"answers changed without a sign by {_what([line])}"
    return {"silent_error_rate": Number("Silent errors", share, "%", note, note)}


def sentences(lines: pd.DataFrame, advice: Sequence[Line]) -> Iterator[str]:
    """What the numbers mean; see `headline`."""
    hardest, chosen = _hardest(lines, advice)
    if not hardest:
        return
    damaged, repaired = _mean(hardest, "acc"), _mean(chosen, "acc")
    draws = hardest[0]["draws"]
    over = "kinds of damage" if len(hardest) > 1 else f"{draws} draws" if draws > 1 else "images"
    yield (
        f"After {_what(hardest)} it gets {percent(damaged.value)} % right instead of "
        f"{percent(hardest[0]['acc_original'])} % ({with_interval(damaged)}, over {over})."
    )
    strategy, title = strategy_named(chosen[0]["strategy"]), strategy_title(chosen[0])
    if len(chosen) > 1:
        yield f"The repairs to take bring that to {percent(repaired.value)} % on average."
    elif chosen[0]["strategy"] != "nothing":
        against = f", {chosen[0]['against']}," if chosen[0]["against"] else ""
        needs = " and ".join(_NEEDS[known] for known in sorted(strategy.knows)) or "nothing"
        yield (
            f"The repair to take is “{title}”: {percent(repaired.value)} % right "
            f"({with_interval(repaired)}){against} after {number(chosen[0]['seconds'], 2)} seconds"
            f"{_worked(chosen[0])}; it needs {needs}."
        )
    elif chosen[0]["in_noise"]:
        yield "The loss is too small for these images to tell what comes back."
    else:
        yield "No repair does better than to do nothing by more than a point."
    left = _mean(chosen, "asr_repaired")
    if len(chosen) == 1 and math.isfinite(left.value):
        yield (
            f"The backdoor then turns {percent(left.value)} % of the images with its trigger "
            f"({with_interval(left)}) instead of {percent(chosen[0]['asr_damaged'])} %."
        )
    yield from _flips(chosen)


def _flips(chosen: Sequence[Line]) -> Iterator[str]:
    """What became of single images, where something was repaired."""
    worse, better = (_mean(chosen, f"{sign}_flips") for sign in ("negative", "positive"))
    if all(line["strategy"] == "nothing" for line in chosen) or not math.isfinite(better.value):
        return
    yield (
        f"After {'it' if len(chosen) == 1 else 'them'} {percent(worse.value)} % of the images are "
        f"wrong that were right before the damage ({with_interval(worse)}), and "
        f"{percent(better.value)} % right that were wrong ({with_interval(better)})."
    )


def _hardest(
    lines: pd.DataFrame, advice: Sequence[Line]
) -> tuple[list[dict[str, Any]], list[Line]]:
    """Of each damage at the severity that leaves least: doing nothing, and the repair to take."""
    idle = damages_of(lines)
    parts = groups(pd.DataFrame(idle[idle["strategy"] == "nothing"]), ["damage"])
    hardest = [min(records(part), key=lambda line: line["acc_damaged"]) for _, part in parts]
    places = [(line["damage"], line["severity"]) for line in hardest]
    return hardest, [line for line in advice if (line["damage"], line["severity"]) in places]


def _worked(line: Line) -> str:
    """`, in 2 of 3 draws` where a repair failed in the others."""
    draws, failed = line["draws"], line["failed"]
    return f", in {draws - failed} of {draws} draws; the others count as damaged" if failed else ""


def _mean(lines: Sequence[Line], name: str) -> Interval:
    """The interval of one line, or that of the mean over kinds of damage."""
    if len(lines) == 1:
        return Interval(*(lines[0][f"{name}{end}"] for end in ("", "_low", "_high")))
    most = math.inf if name in ("ratio", "seconds", "loss") else 1.0
    return bounded(student([x[name] for x in lines]), -math.inf if name == "ratio" else 0.0, most)


def _what(lines: Sequence[Line]) -> str:
    """`weights set to zero at 0.6 (share of weights)`."""
    if len(lines) > 1:
        return f"{len(lines)} kinds of damage, each at its hardest"
    line, unit = lines[0], unit_of(lines[0]["damage"])
    return (
        f"{title_of(line['damage']).lower()} at {line['severity']:g}{f' ({unit})' if unit else ''}"
    )
