"""What a run must keep to, read from a YAML file."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from datamodules.errors import UserError, suggestion
from datamodules.strict_yaml import read_yaml, yaml_problem

End = Literal["lower", "upper", "point"]
"""Which end of the 95 % interval is compared with a threshold."""
_CLEAN = "clean"


@dataclass(frozen=True)
class Threshold:
    """One number, and how far it may go.

    Args:
        number: a headline number, or `family/setting@severity`; see `numbers_of`.
        at_least: the least that passes.
        at_most: the most that passes.
        by: lower or upper end of the interval, or the point estimate; default: the end that is
            worse, so that what passes keeps to the threshold beyond chance.
        of_class: a class by name, or `worst` for the class of which least is left.
    """

    number: str
    at_least: float | None = None
    at_most: float | None = None
    by: End | None = None
    of_class: str | None = None

    @property
    def end(self) -> End:
        """The end that is compared."""
        return self.by or ("upper" if self.at_least is None else "lower")

    @property
    def name(self) -> str:
        """`adversarial_acc >= 0.4`; with the end, where the policy names it."""
        of = f" of {self.of_class} class" if self.of_class else ""
        sign, bound = (">=", self.at_least) if self.at_least is not None else ("<=", self.at_most)
        by = f" by {self.by}" if self.by else ""
        return f"{self.number}{of} {sign} {bound:.12g}{by}"


@dataclass(frozen=True)
class Baseline:
    """Not significantly worse than another run.

    Args:
        run: MLflow run id, folder of a result, or `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
        probes: names, each also with `@severity`, or `@all`; default: all that the baseline has, at
            the severity that stands for them.
        margin: points of accuracy that a model may be worse.
        alpha: chance of a false alarm, of all of these comparisons together.
    """

    run: str | None = None
    probes: Sequence[str] | None = None
    margin: float = 0.0
    alpha: float = 0.05


@dataclass(frozen=True)
class Required:
    """What must be true of the run for its numbers to count.

    Args:
        finished: the run was not interrupted.
        data_digest: beginning of the digest of the test images.
        min_images: that every probe was measured on; checks of other numbers do not count.
        budget: by probe, parameters of what it did, and their least value, e.g. `steps: 20`.
        masking: clean: no sign of gradient masking in any norm that was attacked; or these norms.
    """

    finished: bool = True
    data_digest: str | None = None
    min_images: int | None = None
    budget: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    masking: str | Sequence[str] | None = None


@dataclass(frozen=True)
class Policy:
    """Everything that is asked of a run.

    Args:
        thresholds: of its numbers.
        baseline: None where it is compared with nothing.
        required: of the run itself.
    """

    thresholds: Sequence[Threshold] = ()
    baseline: Baseline | None = None
    required: Required = Required()


def read_policy(file: Path) -> Policy:
    """Reads a policy.

    Raises:
        UserError: it is not there, is no YAML, or has a key or value that means nothing.
    """
    try:
        read = read_yaml(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"There is no policy {str(file)!r} ({error.strerror}).") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(
            f"The policy {str(file)!r} is no YAML file: {yaml_problem(error)}."
        ) from error
    policy = policy_of(read)
    if not policy.thresholds and policy.baseline is None:
        raise UserError(
            f"The policy {str(file)!r} asks for no number: give `thresholds`, `baseline` or both."
        )
    return policy


def policy_of(read: Any) -> Policy:
    """Makes a policy of what a YAML file holds.

    Raises:
        UserError: a key or value that means nothing.
    """
    keys = _mapping(read, "the policy", Policy)
    given = _mapping(keys.get("thresholds") or {}, "thresholds")
    thresholds = [one for name, rule in given.items() for one in _thresholds(str(name), rule)]
    if twice := [name for name, n in Counter(one.name for one in thresholds).items() if n > 1]:
        raise UserError(f"Expected every rule once in `thresholds`, but got {twice[0]!r} twice.")
    baseline = _baseline(keys["baseline"]) if keys.get("baseline") is not None else None
    return Policy(thresholds, baseline, _required(keys.get("required") or {}))


def _thresholds(number: str, rule: Any) -> list[Threshold]:
    rules = rule if isinstance(rule, list) else [rule]
    if not rules:
        raise UserError(f"Expected a rule or more in `thresholds.{number}`, but got none.")
    return [_threshold(number, one) for one in rules]


def _threshold(number: str, rule: Any) -> Threshold:
    where = f"thresholds.{number}"
    given = _mapping(rule, where)
    known = ("at_least", "at_most", "by", "class")
    _refuse_unknown(given, known, where)
    bounds = {name: _real(given[name], f"{where}.{name}") for name in known[:2] if name in given}
    if len(bounds) != 1:
        raise UserError(f"Expected one of at_least and at_most in `{where}`, but got {rule!r}.")
    by = given.get("by")
    if by is not None and by not in get_args(End):
        raise UserError(f"Expected `{where}.by` to be lower, upper or point, but got {by!r}.")
    of_class = None if given.get("class") is None else str(given["class"])
    if of_class is not None and "/" not in number:
        raise UserError(
            f"Expected `{where}` to be family/setting, as test/clean, where `class` is given: a "
            "headline number is of all classes."
        )
    return Threshold(number, **bounds, by=by, of_class=of_class)


def _baseline(read: Any) -> Baseline:
    given = _mapping({"run": read} if isinstance(read, str) else read, "baseline", Baseline)
    margin = _real(given.get("margin", 0.0), "baseline.margin", 0, 100)
    alpha = _real(given.get("alpha", 0.05), "baseline.alpha", 1e-6, 0.5)
    probes = given.get("probes")
    if probes is not None and (not isinstance(probes, list) or not probes):
        raise UserError(f"Expected `baseline.probes` to be a list of names, but got {probes!r}.")
    run = None if given.get("run") is None else str(given["run"])
    return Baseline(run, None if probes is None else [str(p) for p in probes], margin, alpha)


def _required(read: Any) -> Required:
    given = _mapping(read, "required", Required)
    finished, masking = given.get("finished", True), given.get("masking")
    if not isinstance(finished, bool):
        raise UserError(f"Expected `required.finished` to be true or false, but got {finished!r}.")
    if masking is not None and masking != _CLEAN and not isinstance(masking, list):
        raise UserError(
            f"Expected `required.masking` to be {_CLEAN}, or a list of norms as [linf], but got "
            f"{masking!r}."
        )
    digest, least = given.get("data_digest"), given.get("min_images")
    if digest is not None and len(str(digest)) < 8:
        raise UserError(
            f"Expected 8 signs or more of the digest in `required.data_digest`, but got {digest!r}."
        )
    budget = {
        str(probe): {
            str(name): _real(value, f"required.budget.{probe}.{name}")
            for name, value in _mapping(least_of, f"required.budget.{probe}").items()
        }
        for probe, least_of in _mapping(given.get("budget") or {}, "required.budget").items()
    }
    if empty := [probe for probe, asked in budget.items() if not asked]:
        raise UserError(
            f"Expected parameters and their least values in `required.budget.{empty[0]}`, but got "
            "none."
        )
    if least is not None and (isinstance(least, bool) or not isinstance(least, int) or least < 1):
        raise UserError(
            f"Expected `required.min_images` to be a whole number of 1 or more, but got {least!r}."
        )
    return Required(finished, None if digest is None else str(digest), least, budget, masking)


def _mapping(read: Any, where: str, kind: type | None = None) -> dict[str, Any]:
    if not isinstance(read, dict):
        raise UserError(f"Expected `{where}` to hold names and values, but got {read!r}.")
    if kind is not None:
        _refuse_unknown(read, [one.name for one in fields(kind)], where)
    return read


def _refuse_unknown(given: Mapping[Any, Any], known: Sequence[str], where: str) -> None:
    for key in given:
        if key not in known:
            hint = suggestion(str(key), known)
            raise UserError(f"There is no key {str(key)!r} in `{where}`.{hint}")


def _real(value: Any, where: str, low: float = -1e300, high: float = 1e300) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        bounds = f" from {low:g} to {high:g}" if high < 1e300 else ""
        raise UserError(f"Expected `{where}` to be a number{bounds}, but got {value!r}.")
    return float(value)
