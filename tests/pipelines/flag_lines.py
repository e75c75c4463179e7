"""A line for every flag of a command: a value unlike its default, and what it then changes."""

from typing import NamedTuple

RESULT, FILES, MESSAGE, REFUSED = "result", "files", "message", "refused"


class Line(NamedTuple):
    """Of a flag.

    Args:
        words: the flag and its value, behind the base command.
        changes: rows and numbers, the files that are written, what is printed, or nothing, because
            it is refused by its name.
        beside: what both commands say, with and without the flag.
    """

    words: str
    changes: str = RESULT
    beside: str = ""


_CPU = "--trainer.accelerator cpu --trainer.enable_progress_bar false"
QUIET = f"{_CPU} --tracking.enabled false"
EVALUATE = (
    "evaluate --model checkpoint:lenet.pt --arch lenet --data Digits --data.limit 20 " + QUIET
)
_CLEAN, _PGD = "--probes clean", "--attack pgd --steps 2 --masking false"
_TRANSFERRED = "--attack transfer --masking false --surrogate lenet"
OF_EVALUATE = {
    "adversarials": Line("--adversarials 0", FILES, _PGD),
    "attack": Line("--attack fgsm", RESULT, f"{_CLEAN} --masking false"),
    "corruption": Line("--corruption fog", RESULT, _CLEAN),
    "eot": Line("--eot 3", RESULT, _PGD),
    "epsilon": Line("--epsilon 0.05", RESULT, _PGD),
    "masking": Line("--masking false", RESULT, "--attack pgd --steps 2"),
    "norm": Line("--norm l2", RESULT, _PGD),
    "preset": Line("--preset regular", RESULT, "--attack ddn --steps 5 --masking false"),
    "probes": Line("--probes fog", RESULT, "--masking false"),
    "restarts": Line("--restarts 2", RESULT, _PGD),
    "steps": Line("--steps 3", RESULT, "--attack pgd --masking false"),
    "surrogate": Line("--surrogate lenet_wide", RESULT, _TRANSFERRED),
    "target": Line("--target next", RESULT, _PGD),
}
NO_ATTACK = {
    "norm": Line("--norm l2", REFUSED, _CLEAN),
    "epsilon": Line("--epsilon 0.1", REFUSED, _CLEAN),
    "steps": Line("--steps 3", REFUSED, _CLEAN),
    "restarts": Line("--restarts 2", REFUSED, _CLEAN),
    "target": Line("--target next", REFUSED, _CLEAN),
    "eot": Line("--eot 3", REFUSED, _CLEAN),
    "surrogate": Line("--surrogate lenet", REFUSED, _CLEAN),
}
"""Options of an attack where there is none."""
SHARED = {
    "answers": Line("--answers probabilities", REFUSED, _CLEAN),
    "arch": Line("--arch lenet_wide", REFUSED, _CLEAN),
    "channels": Line("--channels rgb", REFUSED, _CLEAN),
    "classes": Line("--classes 1 0 2 3 4 5 6 7 8 9", RESULT, _CLEAN),
    "crop": Line("--crop 6", RESULT, _CLEAN),
    "mean": Line("--mean 0.5", RESULT, f"--std 0.5 --mean 0 {_CLEAN}"),
    "resize": Line("--resize 20", RESULT, _CLEAN),
    "root": Line("--root elsewhere", FILES, _CLEAN),
    "seed": Line("--seed 1", RESULT, _PGD),
    "std": Line("--std 0.5", RESULT, f"--mean 0 --std 1 {_CLEAN}"),
    "data.crop": Line("--data.crop 6", RESULT, _CLEAN),
    "data.limit": Line("--data.limit 10", RESULT, _CLEAN),
    "data.resize": Line("--data.resize 20", RESULT, _CLEAN),
    "data.seed": Line("--data.seed 1", RESULT, _CLEAN),
    "data.augment": Line("--data.augment crop", MESSAGE, _CLEAN),
    "data.val_fraction": Line("--data.val_fraction 0.3", MESSAGE, _CLEAN),
}
"""Of the options of all commands, walked over `evaluate`."""
STRANGERS = {
    "arch": Line("--arch lenet_wide", MESSAGE),
    "weights": Line("--weights ema", MESSAGE),
    "masking": Line("--masking false", MESSAGE),
}
"""Options of files, where the model is none, and of attacks, where there is none."""
BUILT_IN = f"evaluate --model lenet --data Digits --data.limit 20 {_CLEAN} {QUIET}"
TRACKED = f"evaluate --model checkpoint:lenet.pt --arch lenet --data Digits --data.limit 20 {_CPU}"
TRACKING = {
    "tracking.enabled": Line("--tracking.enabled false", FILES, _CLEAN),
    "tracking.tensorboard": Line("--tracking.tensorboard true", FILES, _CLEAN),
    "tracking.uri": Line("--tracking.uri sqlite:///other.db", FILES, _CLEAN),
}
TRANSFER = (
    "transfer --models checkpoint:lenet.pt --arch lenet --data Digits --limit 20 --seed 0 "
    f"--fractions 20 {QUIET}"
)
_SHORT = "--min_steps 2 --trainer.max_epochs 1"
_FULL = f"--modes full {_SHORT}"
OF_TRANSFER = {
    "alpha": Line("--alpha 5", RESULT, f"--modes l2_sp {_SHORT}"),
    "batch_size": Line("--batch_size 5", RESULT, _FULL),
    "fractions": Line("--fractions 30", RESULT),
    "last_k": Line("--last_k 2", RESULT, f"--modes last_k {_SHORT}"),
    "limit": Line("--limit 15", RESULT),
    "lora_alpha": Line("--lora_alpha 3", RESULT, f"--modes lora {_SHORT}"),
    "lora_rank": Line("--lora_rank 2", RESULT, f"--modes lora {_SHORT}"),
    "lwf_weight": Line("--lwf_weight 5", RESULT, f"--modes lwf --sources Digits {_SHORT}"),
    "min_steps": Line("--min_steps 4", RESULT, "--modes full --trainer.max_epochs 1"),
    "modes": Line("--modes last_k", RESULT, _SHORT),
    "plan_only": Line("--plan_only true", FILES),
    "probes": Line("--probes fgsm", RESULT),
    "seeds": Line("--seeds 1", RESULT),
    "sources": Line("--sources Digits", RESULT),
    "wanted_acc": Line("--wanted_acc 0.5", RESULT, "--fractions 20 30"),
    "tuning.cutmix": Line("--tuning.cutmix 0.5", RESULT, _FULL),
    "tuning.dropout": Line("--tuning.dropout 0.3", RESULT, _FULL),
    "tuning.ema": Line("--tuning.ema 0.9", RESULT, _FULL),
    "tuning.label_smoothing": Line("--tuning.label_smoothing 0.2", RESULT, _FULL),
    "tuning.loss": Line("--tuning.loss mse", RESULT, _FULL),
    "tuning.lr": Line("--tuning.lr 0.01", RESULT, _FULL),
    "tuning.mixup": Line("--tuning.mixup 0.5", RESULT, _FULL),
    "tuning.momentum": Line("--tuning.momentum 0.5", RESULT, f"--tuning.optimizer sgd {_FULL}"),
    "tuning.nesterov": Line("--tuning.nesterov false", RESULT, f"--tuning.optimizer sgd {_FULL}"),
    "tuning.optimizer": Line("--tuning.optimizer sgd", RESULT, _FULL),
    "tuning.schedule": Line("--tuning.schedule constant", RESULT, _FULL),
    "tuning.warmup": Line("--tuning.warmup 0.5", RESULT, _FULL),
    "tuning.weight_decay": Line("--tuning.weight_decay 0.5", RESULT, _FULL),
}
UNTRAINED = {
    "alpha": Line("--alpha 5", REFUSED),
    "last_k": Line("--last_k 2", REFUSED),
    "lora_alpha": Line("--lora_alpha 3", REFUSED),
    "lora_rank": Line("--lora_rank 2", REFUSED),
    "lwf_weight": Line("--lwf_weight 5", REFUSED),
    "tuning.ema": Line("--tuning.ema 0.9", REFUSED),
    "tuning.lr": Line("--tuning.lr 0.01", REFUSED),
    "wanted_acc": Line("--wanted_acc 0.5", REFUSED),
}
"""Where `transfer` fits only new heads, to one number of images."""
_OF_MODES = {
    "mode": "linear_probe", "alpha": "5", "last_k": "2", "lora_alpha": "3", "lora_rank": "2"
}  # fmt: skip


def of_modes(group: str = "tuning") -> dict[str, Line]:
    """Options of a recipe that belong to modes, where another option says what learns."""
    return {
        f"{group}.{name}": Line(f"--{group}.{name} {value}", REFUSED)
        for name, value in _OF_MODES.items()
    }


ENGINE = {
    "engine.workers": Line("--engine.workers 3", REFUSED),
    "engine.threads": Line("--engine.threads 2", REFUSED),
    "engine.address": Line("--engine.address auto", REFUSED),
    "engine.cluster": Line("--engine.cluster local", REFUSED),
    "engine.parameters": Line("--engine.parameters.timeout_min 5", REFUSED),
}
"""Without an engine; with one: `tests/pipelines/engine`."""
WALKED = [
    (EVALUATE, OF_EVALUATE),
    (EVALUATE, SHARED),
    (BUILT_IN, STRANGERS),
    (TRACKED, TRACKING),
    (TRANSFER, OF_TRANSFER),
    (TRANSFER, of_modes()),
]
IDLE = [(EVALUATE, NO_ATTACK), (TRANSFER, UNTRAINED), (TRANSFER, ENGINE)]
"""Where the same flags would do nothing: being refused there does not show that they act."""
