"""Lines for the flags of `recover`, `explain`, `assess` and `audit`: see `flag_lines`."""

import sys

table = sys.modules["flag_lines"]
Line, FILES, MESSAGE, REFUSED = table.Line, table.FILES, table.MESSAGE, table.REFUSED

_LENET = "--model checkpoint:lenet.pt --arch lenet --data Digits"
RECOVER = (
    f"recover {_LENET} --data.limit 60 --limit 30 --draws 1 --severities 0.5 --effort.steps 2 "
    f"--effort.images 16 --effort.points 1 --strategies retrain_all {table.QUIET}"
)
_SGD = "--effort.tuning.optimizer sgd"
OF_RECOVER = {
    "damage": Line("--damage sign_flip"),
    "severities": Line("--severities 0.2"),
    "strategies": Line("--strategies retrain_last"),
    "draws": Line("--draws 2"),
    "limit": Line("--limit 20"),
    "layers": Line("--layers conv1"),
    "stored_in": Line("--stored_in float16"),
    "recipes": Line("--recipes sgd:0.03"),
    "trainings": Line("--trainings 2"),
    "inject_until": Line("--inject_until 0.4"),
    "probes": Line("--probes fgsm"),
    "effort.steps": Line("--effort.steps 4"),
    "effort.images": Line("--effort.images 8", beside="--strategies recollect"),
    "effort.points": Line("--effort.points 2"),
    "effort.tuning.lr": Line("--effort.tuning.lr 0.05"),
    "effort.tuning.optimizer": Line(_SGD),
    "effort.tuning.momentum": Line("--effort.tuning.momentum 0.5", beside=_SGD),
    "effort.tuning.nesterov": Line("--effort.tuning.nesterov false", beside=_SGD),
    "effort.tuning.weight_decay": Line("--effort.tuning.weight_decay 0.9"),
    "effort.tuning.label_smoothing": Line("--effort.tuning.label_smoothing 0.5"),
    "effort.tuning.loss": Line("--effort.tuning.loss mse"),
    "effort.tuning.dropout": Line("--effort.tuning.dropout 0.5"),
    "effort.tuning.mixup": Line("--effort.tuning.mixup 0.5"),
    "effort.tuning.cutmix": Line("--effort.tuning.cutmix 0.5"),
    "effort.tuning.schedule": Line("--effort.tuning.schedule constant"),
    "effort.tuning.warmup": Line("--effort.tuning.warmup 0.5"),
    "effort.tuning.ema": Line("--effort.tuning.ema 0.9", REFUSED),
    **table.of_modes("effort.tuning"),
}
_BACKDOOR = "--damage bad_nets --spoil.steps 3 --spoil.rounds 1"
OF_RECOVER |= {
    "spoil.steps": Line("--spoil.steps 5", beside=_BACKDOOR),
    "spoil.rounds": Line("--spoil.rounds 2", beside=_BACKDOOR),
    "spoil.target": Line("--spoil.target 3", beside=_BACKDOOR),
    "spoil.mapping": Line("--spoil.mapping all_to_all", beside=_BACKDOOR),
}
BY_EPOCHS = {"effort.epochs": Line("--effort.epochs 2")}
"""Instead of steps."""
RECOVER_IDLE = {
    "spoil.steps": Line("--spoil.steps 3", REFUSED),
    "spoil.rounds": Line("--spoil.rounds 2", REFUSED),
    "spoil.target": Line("--spoil.target 3", REFUSED),
    "spoil.mapping": Line("--spoil.mapping all_to_all", REFUSED),
    "effort.tuning.momentum": Line("--effort.tuning.momentum 0.5", REFUSED),
    "atlas_root": Line("--atlas_root elsewhere", REFUSED),
}
"""Where no training data are damaged, and without an atlas."""
EXPLAIN = (
    f"explain {_LENET} --data.limit 64 --probes clean --limit 40 --train_limit 64 --forwards 400 "
    f"--window 8 {table.QUIET}"
)
OF_EXPLAIN = {
    "forwards": Line("--forwards 450"),
    "limit": Line("--limit 45"),
    "train_limit": Line("--train_limit 50"),
    "window": Line("--window 4"),
    "false_alarms": Line("--false_alarms 0.2"),
    "order": Line("--order stream", beside="--false_alarms 0.3"),
    "outliers": Line("--outliers RotatedDigits"),
    "probes": Line("--probes fgsm"),
    "compare": Line("--compare.other lenet"),
}
EXPLAIN_PRESET = {"preset": Line("--preset regular", beside="--probes pgd --limit 20")}
EXPLAIN_IMAGE = (
    "explain --model checkpoint:lenet.pt --arch lenet --image given/a.png --methods gradient "
    f"{table.QUIET}"
)
OF_IMAGES = {
    "image": Line("--image given/b.png"),
    "methods": Line("--methods rise"),
    "layer": Line("--layer conv1"),
    "target": Line("--target 3"),
    "unit": Line("--unit 1", beside="--layer conv1"),
}
EXPLAIN_IDLE = {
    "methods": Line("--methods rise", REFUSED),
    "layer": Line("--layer conv1", REFUSED),
    "unit": Line("--unit 1", REFUSED),
    "target": Line("--target 1", REFUSED),
}
"""Where no image of the user's own is explained."""
ASSESS = f"assess {_LENET} --data.limit 48 --questions data {table.QUIET}"
OF_ASSESS = {
    "plan_only": Line("--plan_only true", FILES),
    "preset": Line("--preset regular", MESSAGE, "--plan_only true --questions robustness"),
    "questions": Line("--questions robustness", MESSAGE, "--plan_only true"),
    "student": Line("--student lenet_wide", MESSAGE, "--plan_only true"),
    "transfer_to": Line("--transfer_to Digits", MESSAGE, "--plan_only true"),
}
AUDIT = f"audit --data Digits --data.limit 200 {table.QUIET}"
OF_AUDIT = {
    "near.radius": Line("--near.radius 2"),
    "near.ratio": Line("--near.ratio 0.9"),
    "near.turned": Line("--near.turned false"),
}
_EPOCHS = RECOVER.replace("--effort.steps 2", "--effort.epochs 1")
WALKED = [
    (RECOVER, OF_RECOVER),
    (_EPOCHS, BY_EPOCHS),
    (EXPLAIN, OF_EXPLAIN),
    (EXPLAIN, EXPLAIN_PRESET),
    (EXPLAIN_IMAGE, OF_IMAGES),
    (ASSESS, OF_ASSESS),
    (AUDIT, OF_AUDIT),
]
IDLE = [(RECOVER, RECOVER_IDLE), (EXPLAIN, EXPLAIN_IDLE)]
