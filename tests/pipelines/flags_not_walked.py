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
"""Who measures changes no number, which `tests/pipelines/engine` compares, in processes."""
_STOPPED = {"checkpoint.every_n_steps"}
"""Acts where a training is stopped inside an epoch: `fine_tune/test_stop_and_go_on`."""
_SAME = {"distillation.cache"}
"""Answers are kept or asked for anew, and are the same: `lightning_modules/distillation`."""
_ATLAS = {"atlas", "atlas_root"}
"""Commands of minutes that let nobody shorten them, on MNIST's files: `recover/test_recover`."""
NOT_WALKED: dict[str, set[str]] = {
    "transfer": _ENGINE,
    "assess": _ENGINE,
    "recover": {*_ENGINE, *_ATLAS},
    "fine-tune": {*_ENGINE, *_STOPPED},
    "distill": {*_ENGINE, *_STOPPED, *_SAME},
}
"""No line, each for the reason beside it; what says nothing where it is, is refused there."""
