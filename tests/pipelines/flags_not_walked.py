"""Flags that no command line of `flag_lines` walks yet, by command and with the reason.

This is to shrink: what gets a line there has to leave here, and a new flag has no place here.
"""

RECIPE = {
    "tuning.alpha",
    "tuning.cutmix",
    "tuning.dropout",
    "tuning.ema",
    "tuning.label_smoothing",
    "tuning.last_k",
    "tuning.lora_alpha",
    "tuning.lora_rank",
    "tuning.loss",
    "tuning.lr",
    "tuning.mixup",
    "tuning.mode",
    "tuning.momentum",
    "tuning.nesterov",
    "tuning.optimizer",
    "tuning.schedule",
    "tuning.warmup",
    "tuning.weight_decay",
}
"""The recipe of a training: of `fine-tune` walked by `test_every_flag`."""
INPUTS = {"model", "models", "data", "data.root", "config", "print_config", "tracking"}
"""What every command line is about, files of flags, and what their parts have lines for."""
NEEDS_FILES = {"data.num_workers", "data.on_corrupt", "fresh", "trust_pickle", "weights"}
"""They act on speed, spoilt pictures, kept rows, pickles and files of several weights."""
SHARED_NOT_WALKED = {"chunk", "data.batch_size", "data.channels", "tracking.experiment"}
"""Calls, batches and channels that change no number of an evaluation; a name of the store."""
_ENGINE = {
    f"engine.{name}" for name in ("address", "cluster", "kind", "parameters", "threads", "workers")
}
NOT_WALKED: dict[str, set[str]] = {
    "transfer": _ENGINE,
    "assess": _ENGINE,
    "recover": {
        *_ENGINE, "atlas", "atlas_root", "spoil.mapping", "spoil.rounds", "spoil.steps",
        "spoil.target",
    },
    "fine-tune": {
        *_ENGINE, "checkpoint.every_n_steps", "sweep.images", "sweep.lambdas", "sweep.of",
        "sweep.steps", "tasks",
    },
    "explain": {"image", "layer", "methods", "preset", "target", "unit"},
    "distill": {
        *_ENGINE, "auto.layers", "auto.losses", "auto.reduction", "auto.scales", "auto.shares",
        "auto.temperatures", "auto.trials", "checkpoint.every_n_steps", "distillation.cache",
        "regulariser.logit_pairing",
    },
    "compare": {"baseline", "common", "out", "root", "seed", "tracking.enabled", "tracking.uri"},
    "gate": {
        "alias", "baseline", "junit", "model_version", "policy", "root", "tag", "tracking.uri",
    },
    "inspect": {"arch", "data", "json", "trust_pickle", "weights"},
    "report": {"model_card", "out", "root", "tracking.uri"},
    "ui": {"experiment", "host", "port", "root", "tracking.uri"},
}  # fmt: skip
"""No line yet: these have tests of their own rooms, which are not gathered here."""
