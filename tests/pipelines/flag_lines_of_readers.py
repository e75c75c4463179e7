"""Lines for the flags of commands that read what others have left: see `flag_lines`.

`{a}`, `{b}` and `{c}` are runs of three models on the same images, `{less}` is one that was asked
less, and `{fa}` and so on are their folders; `given/` holds policies, a model card and a model in
TorchScript.
"""

import sys

table = sys.modules["flag_lines"]
Line, FILES, MESSAGE, RESULT = table.Line, table.FILES, table.MESSAGE, table.RESULT

_UNLOGGED = "compare {fa} {fb} --tracking.enabled false"
COMPARE = "compare {a} {b}"
OF_COMPARE = {
    "baseline": Line("--baseline {b}", MESSAGE),
    "out": Line("--out other.html", FILES),
    "tracking.enabled": Line("--tracking.enabled false", MESSAGE),
    "tracking.uri": Line("--tracking.uri sqlite:///other.db", FILES),
}
COMPARED_ELSEWHERE = {"root": Line("--root elsewhere", FILES)}
UNLIKE = {"common": Line("--common", MESSAGE)}
"""Of runs that were not asked alike, which is refused without."""
RANKED = {"seed": Line("--seed 1", RESULT)}
"""Of three models, which are about equally good."""
GATE = "gate {a} --policy given/policy.yaml"
OF_GATE = {
    "policy": Line("--policy given/strict.yaml", MESSAGE),
    "junit": Line("--junit gate.xml", FILES),
    "alias": Line("--alias champion", MESSAGE),
    "tag": Line("--tag stage=ok", MESSAGE),
    "model_version": Line("--model_version digits/1", MESSAGE, "--alias champion"),
    "tracking.uri": Line("--tracking.uri sqlite:///nowhere.db", MESSAGE),
}
REGRESSION = {"baseline": Line("--baseline {c}", MESSAGE)}
OF_GATE_FOLDER = {"root": Line("--root elsewhere", MESSAGE)}
INSPECT = "inspect lenet.pt"
OF_INSPECT = {
    "json": Line("--json", MESSAGE),
    "data": Line("--data Digits", MESSAGE),
    "arch": Line("--arch lenet_wide", MESSAGE, "--data Digits"),
    "weights": Line("--weights ema", MESSAGE, "--data Digits"),
}
PICKLED = {"trust_pickle": Line("--trust_pickle", MESSAGE)}
REPORT = "report {a}"
OF_REPORT = {
    "out": Line("--out other.md", FILES),
    "model_card": Line("--model_card given/card.yaml", RESULT, "--out MODEL_CARD.md"),
    "root": Line("--root elsewhere", MESSAGE),
    "tracking.uri": Line("--tracking.uri sqlite:///nowhere.db", MESSAGE),
}
UI = "ui --port 50123"
OF_UI = {
    "experiment": Line("--experiment other", MESSAGE),
    "host": Line("--host localhost", MESSAGE),
    "port": Line("--port 50124", MESSAGE),
    "root": Line("--root elsewhere", MESSAGE),
    "tracking.uri": Line("--tracking.uri sqlite:///nowhere.db", MESSAGE),
}
WALKED = [
    (COMPARE, OF_COMPARE),
    (_UNLOGGED, COMPARED_ELSEWHERE),
    ("compare {a} {less}", UNLIKE),
    ("compare {fb} {fc} {fless} --common --tracking.enabled false", RANKED),
    (GATE, OF_GATE),
    ("gate {a} --policy given/against.yaml --baseline {b}", REGRESSION),
    ("gate {fa} --policy given/policy.yaml", OF_GATE_FOLDER),
    (INSPECT, OF_INSPECT),
    ("inspect given/scripted.pt --data Digits", PICKLED),
    (REPORT, OF_REPORT),
    (UI, OF_UI),
]
