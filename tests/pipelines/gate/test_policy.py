"""Policies: what they may say, and the sentence for what they may not."""

from pathlib import Path

import pytest

from datamodules.errors import UserError
from pipelines.gate.policy import policy_of, read_policy

WHOLE = """
thresholds:
  adversarial_acc: {at_least: 0.4}
  corruption/fog_ece@3: {at_most: 0.1, by: point}
  test/clean: [{at_least: 0.9}, {at_least: 0.7, class: worst}]
baseline: {run: "models:/digits@champion", probes: [clean, pgd_linf@8/255], margin: 2, alpha: 0.01}
required:
  data_digest: dddddddd
  min_images: 100
  budget: {pgd_linf: {steps: 10}}
  masking: clean
"""


def test_everything_is_read(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(WHOLE)
    policy = read_policy(tmp_path / "policy.yaml")
    assert [(one.name, one.end) for one in policy.thresholds] == [
        ("adversarial_acc >= 0.4", "lower"),
        ("corruption/fog_ece@3 <= 0.1 by point", "point"),
        ("test/clean >= 0.9", "lower"),
        ("test/clean of worst class >= 0.7", "lower"),
    ]
    assert policy.baseline is not None
    assert policy.baseline.probes == ["clean", "pgd_linf@8/255"]
    assert (policy.baseline.margin, policy.baseline.alpha) == (2.0, 0.01)
    assert policy.required.finished
    assert policy.required.budget == {"pgd_linf": {"steps": 10.0}}


@pytest.mark.parametrize(
    ("read", "said"),
    [
        ({"treshold": {}}, "no key 'treshold' in `the policy`. Did you mean 'thresholds'?"),
        ({"thresholds": {"a": {"atleast": 1}}}, "Did you mean 'at_least'?"),
        ({"thresholds": {"a": []}}, "a rule or more in `thresholds.a`"),
        ({"required": {"budget": {"pgd": {}}}}, "least values in `required.budget.pgd`"),
        ({"required": {"min_images": 100.9}}, "a whole number of 1 or more, but got 100.9"),
        ({"thresholds": {"a": [{"at_least": 1}, {"at_least": 1.0}]}}, "'a >= 1' twice"),
        ({"thresholds": {"a": {}}}, "one of at_least and at_most in `thresholds.a`"),
        ({"thresholds": {"a": {"at_least": 1, "at_most": 1}}}, "one of at_least and at_most"),
        ({"thresholds": {"a": {"at_least": "x"}}}, "`thresholds.a.at_least` to be a number"),
        ({"thresholds": {"a": {"at_least": True}}}, "to be a number, but got True"),
        ({"thresholds": {"a": {"at_least": 1, "by": "mean"}}}, "lower, upper or point"),
        ({"thresholds": {"a": {"at_least": 1, "class": "b"}}}, "family/setting, as test/clean"),
        ({"thresholds": [1]}, "`thresholds` to hold names and values"),
        ({"baseline": {"alpha": 2}}, "`baseline.alpha` to be a number from 1e-06 to 0.5"),
        ({"baseline": {"probes": "clean"}}, "`baseline.probes` to be a list"),
        ({"required": {"masking": "dirty"}}, "`required.masking` to be clean"),
        ({"required": {"data_digest": "ab"}}, "8 signs or more"),
        ({"required": {"budget": {"pgd": 3}}}, "`required.budget.pgd` to hold names"),
        ({"required": {"finished": "yes"}}, "true or false"),
        (None, "`the policy` to hold names and values"),
    ],
)
def test_what_means_nothing_is_one_sentence(read: object, said: str) -> None:
    with pytest.raises(UserError) as caught:
        policy_of(read)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "said"), [("a: [", "no YAML"), ("{}", "asks for no number")])
def test_files(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(UserError, match=said):
        read_policy(tmp_path / "p.yaml")
    with pytest.raises(UserError, match="There is no policy"):
        read_policy(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "thresholds:\n  test/clean: {at_least: 0.99}\n  test/clean: {at_least: 0.01}",
        "thresholds: {a: {at_least: 1}}\nthresholds: {b: {at_least: 0}}",
    ],
)
def test_a_rule_that_stands_twice_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "policy.yaml").write_text(text)
    with pytest.raises(UserError, match=r"the key '\S+' stands twice \(line [23]\)"):
        read_policy(tmp_path / "policy.yaml")
