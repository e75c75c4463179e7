"""What adaptation amounts to: what it gains, what it costs on clean images, and where it fails."""

import re
from collections.abc import Sequence

import pandas as pd

from callbacks.adaptation.figures import gain_map
from callbacks.adaptation.gains import Gains, gains_of
from callbacks.family import Number, Summary
from callbacks.results import ProbeResult
from callbacks.statistics import Interval
from callbacks.words import DASH, ends, with_mark

BASE = "adaptation_none"
_CONTROLS = {
    "sorted": "class after class",
    "small": "in small batches",
    "foreign": "with the statistics of another corruption",
}
"""By the end of a control's name."""
_NO_BASE = (
    "{}: what it gains is not known, because the network as it is was not measured on the same "
    "images and cells."
)


def summarise(results: Sequence[ProbeResult], clean: ProbeResult | None) -> Summary:
    """Gains of every adaptation and control against the network as it is.

    Args:
        results: of adaptation probes; without `adaptation_none` on the same cells that is said, and
            no more.
        clean: not asked for: clean images are a cell of every probe, in the same batches.

    Returns:
        For each of them, such as `adaptation_tent` and `adaptation_tent_sorted`, the numbers
        `..._gain` (mean over corrupted cells) and `..._clean_gain`; for what is no control
        `..._gain_fog_5` of every cell too. The answers shown by class are those of adaptations
        under corruption, and never those of controls.
    """
    base = next((one for one in results if one.name == BASE and len(one.rows)), None)
    found = gains_of(results, base) if base is not None else []
    answers = {f"{one.title}, corrupted": _corrupted(one) for one in results if _adapts(one)}
    known = {id(gains.result) for gains in found}
    alone = [_NO_BASE.format(r.title) for r in results if _adapts(r) and id(r) not in known]
    if not found:
        return Summary({}, alone, answers=answers)
    numbers: dict[str, Number] = {}
    for gains in found:
        numbers |= _numbers(gains)
    plain = [gains for gains in found if _adapts(gains.result)]
    return Summary(
        numbers,
        [*(sentence for gains in plain for sentence in _sentences(gains, found)), *alone],
        figures={"adaptation_gain": gain_map(found)},
        answers=answers,
    )


def _adapts(result: ProbeResult) -> bool:
    """Whether it is an adaptation itself, with rows, and no control of one."""
    _, _, last = result.name.rpartition("_")
    return result.name != BASE and last not in _CONTROLS and len(result.rows) > 0


def _corrupted(result: ProbeResult) -> pd.DataFrame:
    """The rows of all cells but the clean one."""
    return result.rows.loc[result.rows["severity"] > 0]


def _numbers(gains: Gains) -> dict[str, Number]:
    name, title = gains.result.name, gains.result.title
    note, plain = _note(gains), _adapts(gains.result)
    asked = f"{gains.result.algorithm}; against {gains.base.algorithm}"

    def told(what: str, gain: Interval, of: str, card: bool = False) -> Number:
        return Number(f"{title}: {what}", gain, "%", with_mark(of, gain), asked, card)

    numbers = {
        f"{name}_gain": told("points gained", gains.corrupted, note, plain),
        f"{name}_clean_gain": told("points gained on clean images", gains.of_cell(0), "paired"),
    }
    for place, cell in enumerate(gains.cells) if plain else ():
        if place:
            key = re.sub(r"\W+", "_", cell)
            numbers[f"{name}_gain_{key}"] = told(
                f"points under {cell}", gains.of_cell(place), "paired"
            )
    return numbers


def _sentences(gains: Gains, all_gains: Sequence[Gains]) -> list[str]:
    """What it does, and whether the controls let it be believed."""
    signs = gains.significant[1:]
    title = gains.result.title
    said = (
        f"{title}: {_points(gains.corrupted)} on corrupted images ({_note(gains)}), "
        f"{_points(gains.of_cell(0))} on clean ones; significantly better in {signs.count(1)} of "
        f"{len(signs)} corrupted cells, worse in {signs.count(-1)} (McNemar, Holm)."
    )
    beside = {
        control: one
        for one in all_gains
        for control in _CONTROLS
        if one.result.name == f"{gains.result.name}_{control}"
    }
    alike = [name for name, one in beside.items() if name != "foreign" and _alike(one, gains)]
    apart = {name: one for name, one in beside.items() if name not in alike}
    told = [f"{_CONTROLS[name]} {_points(one.corrupted)}" for name, one in apart.items()]
    if alike:
        which = " and ".join(_CONTROLS[name] for name in alike)
        told.append(f"{which} nothing, as the very same images are answered together")
    controls = [f"{title}, controls: {', '.join(told)}."] if told else []
    return [said, *controls, _verdict(gains, apart)]


def _alike(control: Gains, gains: Gains) -> bool:
    """Whether few images come in the same batches either way, so that it controls nothing."""
    return bool((control.batches == gains.batches).all())


def _verdict(gains: Gains, controls: dict[str, Gains]) -> str:
    """Whether it helps, and what that depends on."""
    title, gain = gains.result.title, gains.corrupted
    if not gain.low > 0:
        verb = "costs more than it brings" if gain.high < 0 else "brings nothing that can be told"
        return f"Verdict: {title} {verb} on these corruptions."
    spoilt = [_CONTROLS[name] for name in ("sorted", "small") if _no_gain(controls.get(name))]
    costs = gains.of_cell(0).high < 0
    parts = [f"Verdict: {title} helps on these corruptions in mixed batches"]
    parts += [f"not {' nor '.join(spoilt)}"] if spoilt else []
    parts += ["and costs accuracy on clean images"] if costs else []
    if foreign := controls.get("foreign"):
        parts.append(_whose(gains, foreign))
    return f"{'; '.join(parts)}{'' if controls else '; no control was measured'}."


def _whose(gains: Gains, foreign: Gains) -> str:
    """What own statistics bring beyond another corruption's, by paired differences."""
    more = gains.beyond(foreign)
    if more.low > 0:
        return f"their own statistics help more than another corruption's, by {_points(more)}"
    if more.high < 0:
        theirs = _points(foreign.beyond(gains))
        return f"but another corruption's statistics help more, by {theirs}"
    return f"that the statistics are their own brings nothing that can be told, {_points(more)}"


def _no_gain(gains: Gains | None) -> bool:
    return gains is not None and not gains.corrupted.low > 0


def _points(gain: Interval) -> str:
    """`+9.2 points (8.4-10.1)`."""
    both = ends(gain.low, gain.high, 100, 1)
    return f"{100 * gain.value:+.1f} points ({both or DASH})"


def _note(gains: Gains) -> str:
    """`mean of 10 cells on 1,000 images`."""
    return f"mean of {len(gains.cells) - 1} cells on {len(gains.images):,} images"
