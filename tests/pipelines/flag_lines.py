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
_CLEAN = "--probes clean"
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
    "arch": Line("--arch lenet_wide", REFUSED, _CLEAN),
    "channels": Line("--channels rgb", REFUSED, _CLEAN),
}
"""Of the options of all commands, walked over `evaluate`."""
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
    # These are told by options of their own.
    "tuning.mode": Line("--tuning.mode linear_probe", REFUSED),
    "tuning.alpha": Line("--tuning.alpha 5", REFUSED),
    "tuning.last_k": Line("--tuning.last_k 2", REFUSED),
    "tuning.lora_alpha": Line("--tuning.lora_alpha 3", REFUSED),
    "tuning.lora_rank": Line("--tuning.lora_rank 2", REFUSED),
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
WALKED = [(EVALUATE, SHARED), (TRANSFER, OF_TRANSFER)]
IDLE = [(EVALUATE, NO_ATTACK), (TRANSFER, UNTRAINED)]
"""Where the same flags would do nothing: being refused there does not show that they act."""
