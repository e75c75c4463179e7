"""Lines for the flags of commands that train: see `flag_lines`."""

import sys

table = sys.modules["flag_lines"]
Line, FILES, MESSAGE, REFUSED = table.Line, table.FILES, table.MESSAGE, table.REFUSED

_SMALL = "--data Digits --data.limit 40 --data.batch_size 8 --evaluation none"
FINE_TUNE = f"fine-tune --model lenet {_SMALL} --trainer.max_epochs 2 {table.QUIET}"
_PATIENT = "--trainer.max_epochs 8 --data.limit 300"
_PGD = "--config pgd_at"
_SELECTED = f"{_PGD} --data.limit 200 --tuning.lr 0.01 --trainer.max_epochs 4"
_REGULARISED = {
    "regulariser.clean_logit_pairing": Line("--regulariser.clean_logit_pairing 1"),
    "regulariser.input_gradient": Line("--regulariser.input_gradient 1"),
    "regulariser.noise_consistency": Line("--regulariser.noise_consistency 1"),
    "regulariser.noise": Line(
        "--regulariser.noise 0.3", beside="--regulariser.noise_consistency 1"
    ),
    "regulariser.awp": Line("--regulariser.awp 0.1"),
    "regulariser.awp_from": Line("--regulariser.awp_from 1", beside="--regulariser.awp 0.1"),
}
_FITTED = {
    "optimizer": Line("--optimizer torch.optim.Adagrad"),
    "scheduler": Line(
        "--scheduler torch.optim.lr_scheduler.StepLR --scheduler.step_size 1 --scheduler.gamma 0.1"
    ),
    "lr_find": Line("--lr_find true"),
    "early_stopping.patience": Line(
        "--early_stopping.patience 1 --early_stopping.min_delta 0.9", beside=_PATIENT
    ),
    "early_stopping.min_delta": Line(
        "--early_stopping.min_delta 0.9", beside=f"--early_stopping.patience 2 {_PATIENT}"
    ),
    "early_stopping.monitor": Line(
        "--early_stopping.monitor val/nothing", REFUSED, "--early_stopping.patience 1"
    ),
    "ckpt_path": Line("--ckpt_path last", REFUSED),
    "perturb": Line("--perturb lightning_modules.GaussianNoise --perturb.std 0.3"),
}
_PENALTY = "--regulariser.input_gradient 1"
_SWEPT = f"{_PENALTY} --sweep.lambdas 0 1"
_OF_SWEEP = {
    "sweep.lambdas": Line("--sweep.lambdas 0 1", beside=_PENALTY),
    "sweep.of": Line("--sweep.of tuning.weight_decay", beside=_SWEPT),
    "sweep.images": Line("--sweep.images 3", beside=_SWEPT),
    "sweep.steps": Line("--sweep.steps 1", beside=_SWEPT),
}
OF_FINE_TUNE = {
    **_FITTED,
    **_OF_SWEEP,
    "tasks": Line("--tasks given/tasks.yaml"),
    **_REGULARISED,
    "regulariser.logit_pairing": Line("--regulariser.logit_pairing 1", beside=_PGD),
    "evaluation": Line("--evaluation quick", FILES),
    "robust.loss": Line("--robust.loss trades", beside="--config trades --robust.loss plain"),
    "robust.beta": Line("--robust.beta 1", beside="--config trades"),
    "robust.ramp": Line("--robust.ramp 0.9", beside=_PGD),
    "robust.every": Line("--robust.every 0", beside=_SELECTED),
    "robust.images": Line("--robust.images 0", REFUSED, _PGD),
    "robust.steps": Line("--robust.steps 0", REFUSED, _PGD),
    "robust.select": Line("--robust.select acc", beside=_SELECTED),
    "robust.drop": Line("--robust.drop 2", REFUSED, _PGD),
}
FINE_TUNE_IDLE = {
    "regulariser.noise": Line("--regulariser.noise 0.3", REFUSED),
    "regulariser.awp_from": Line("--regulariser.awp_from 1", REFUSED),
    "regulariser.logit_pairing": Line("--regulariser.logit_pairing 1", REFUSED),
    "robust.beta": Line("--robust.beta 1", REFUSED),
    "robust.loss": Line("--robust.loss trades", REFUSED),
    "robust.ramp": Line("--robust.ramp 0.5", REFUSED),
    "robust.every": Line("--robust.every 3", REFUSED),
    "robust.images": Line("--robust.images 7", REFUSED),
    "robust.steps": Line("--robust.steps 7", REFUSED),
    "robust.select": Line("--robust.select robust_acc", REFUSED),
    "robust.drop": Line("--robust.drop 0.5", REFUSED),
    "early_stopping.min_delta": Line("--early_stopping.min_delta 0.9", REFUSED),
    "early_stopping.monitor": Line("--early_stopping.monitor val/loss", REFUSED),
    "sweep.steps": Line("--sweep.steps 3", REFUSED),
    "sweep.images": Line("--sweep.images 7", REFUSED),
    "sweep.of": Line("--sweep.of awp", REFUSED),
}
"""Where nothing is attacked, added, stopped early or swept."""
_TAUGHT = "--teacher checkpoint:lenet.pt --arch lenet --student lenet"
DISTILL = f"distill {_TAUGHT} {_SMALL} --trainer.max_epochs 2 {table.QUIET}"
_FEATURES = "--distillation.layers conv1"
_RKD, _DKD = "--distillation.loss rkd", "--distillation.loss dkd"
_ATTENTION = f"--distillation.loss attention {_FEATURES}"
_SGD = "--tuning.optimizer sgd"
_SEARCHED = "--auto.trials 2"
_MAPS = f"{_SEARCHED} --auto.losses attention --auto.layers conv1"
_SHARED_OUT = f"{_SEARCHED} --auto.losses kd"
_OF_SEARCH = {
    "auto.trials": Line(_SEARCHED),
    "auto.losses": Line("--auto.losses kd", beside=f"{_SEARCHED} --auto.losses dkd"),
    "auto.temperatures": Line("--auto.temperatures 3", beside=_SHARED_OUT),
    "auto.shares": Line("--auto.shares 0.3", beside=_SHARED_OUT),
    "auto.scales": Line("--auto.scales 2", beside=_MAPS),
    "auto.layers": Line("--auto.layers conv2", beside=_MAPS),
    "auto.reduction": Line(
        "--auto.reduction 2", beside="--auto.trials 6 --auto.losses kd --trainer.max_epochs 4"
    ),
}
OF_DISTILL = {
    **_OF_SEARCH,
    "regulariser.logit_pairing": Line(
        "--regulariser.logit_pairing 1", beside="--distillation.loss ard"
    ),
    **table.of_modes(),
    "tuning.mode": Line("--tuning.mode linear_probe"),
    **_FITTED,
    **_REGULARISED,
    "distillation.loss": Line(_DKD),
    "distillation.temperature": Line("--distillation.temperature 1"),
    "distillation.hard_weight": Line("--distillation.hard_weight 5"),
    "distillation.soft_weight": Line("--distillation.soft_weight 5"),
    "distillation.feature_weight": Line("--distillation.feature_weight 5", beside=_ATTENTION),
    "distillation.alpha": Line("--distillation.alpha 5", beside=_DKD),
    "distillation.beta": Line("--distillation.beta 1", beside=_DKD),
    "distillation.ramp": Line("--distillation.ramp 2"),
    "distillation.clean_share": Line(
        "--distillation.clean_share 0.9", beside="--distillation.loss rslad"
    ),
    "distillation.attention_form": Line(
        "--distillation.attention_form paper",
        beside=f"{_ATTENTION} --distillation.feature_weight 9",
    ),
    "distillation.distance_weight": Line("--distillation.distance_weight 1", beside=_RKD),
    "distillation.angle_weight": Line("--distillation.angle_weight 1", beside=_RKD),
    "distillation.layers": Line("--distillation.layers conv2", beside=_ATTENTION),
    "distillation.labels": Line("--distillation.labels teacher"),
    "distillation.init_from": Line("--distillation.init_from conv1"),
    "distillation.select": Line("--distillation.select agreement", beside=_PATIENT),
    "distillation.teacher_weights": Line("--distillation.teacher_weights 1 2", REFUSED),
    "controls": Line("--controls label_only"),
    "labelled": Line("--labelled 20"),
    "seeds": Line("--seeds 1"),
    "student": Line("--student lenet_wide"),
    "student_arch": Line("--student_arch lenet", REFUSED),
    "teacher": Line("--teacher lenet"),
    "evaluation": Line("--evaluation quick"),
    "tuning.loss": Line("--tuning.loss mse"),
    "tuning.cutmix": Line("--tuning.cutmix 0.5", REFUSED),
    "tuning.dropout": Line("--tuning.dropout 0.3"),
    "tuning.ema": Line("--tuning.ema 0.9"),
    "tuning.label_smoothing": Line("--tuning.label_smoothing 0.2"),
    "tuning.lr": Line("--tuning.lr 0.01"),
    "tuning.mixup": Line("--tuning.mixup 0.5", REFUSED),
    "tuning.momentum": Line("--tuning.momentum 0.5", beside=_SGD),
    "tuning.nesterov": Line("--tuning.nesterov false", beside=_SGD),
    "tuning.optimizer": Line(_SGD),
    "tuning.schedule": Line("--tuning.schedule constant"),
    "tuning.warmup": Line("--tuning.warmup 0.5"),
    "tuning.weight_decay": Line("--tuning.weight_decay 0.5"),
}
DISTILL_IDLE = {
    "distillation.alpha": Line("--distillation.alpha 5", REFUSED),
    "distillation.beta": Line("--distillation.beta 1", REFUSED),
    "distillation.clean_share": Line("--distillation.clean_share 0.9", REFUSED),
    "distillation.attention_form": Line("--distillation.attention_form paper", REFUSED),
    "distillation.distance_weight": Line("--distillation.distance_weight 1", REFUSED),
    "distillation.angle_weight": Line("--distillation.angle_weight 1", REFUSED),
    "distillation.feature_weight": Line("--distillation.feature_weight 5", REFUSED),
    "distillation.layers": Line(_FEATURES, REFUSED),
    "distillation.cache": Line("--distillation.cache true", REFUSED, "--data.augment crop"),
    "regulariser.logit_pairing": Line("--regulariser.logit_pairing 1", REFUSED),
    "auto.losses": Line("--auto.losses kd", REFUSED),
    "auto.temperatures": Line("--auto.temperatures 2", REFUSED),
    "auto.shares": Line("--auto.shares 0.3", REFUSED),
    "auto.scales": Line("--auto.scales 2", REFUSED),
    "auto.layers": Line("--auto.layers conv1", REFUSED),
    "auto.reduction": Line("--auto.reduction 4", REFUSED),
}
"""Of another loss, or of a search where nothing is searched."""
FEDERATE = (
    "federate --clients lenet lenet --data Digits --data.limit 80 --data.batch_size 8 "
    f"--federated.rounds 1 --federated.private_steps 2 --federated.public_steps 2 {table.QUIET}"
)
_DIRICHLET, _DF = "--federated.split dirichlet", "--federated.method feddf"
OF_FEDERATE = {
    **table.of_modes(),
    "tuning.mode": Line("--tuning.mode linear_probe"),
    "tuning.schedule": Line("--tuning.schedule constant"),
    "tuning.warmup": Line("--tuning.warmup 0.5"),
    "clients": Line("--clients lenet lenet_wide"),
    "public": Line("--public RotatedDigits"),
    "federated.method": Line("--federated.method fedmd"),
    "federated.rounds": Line("--federated.rounds 2"),
    "federated.private_steps": Line("--federated.private_steps 4"),
    "federated.public_steps": Line("--federated.public_steps 4"),
    "federated.temperature": Line("--federated.temperature 4", beside=_DF),
    "federated.split": Line("--federated.split even"),
    "federated.alpha": Line("--federated.alpha 9", beside=_DIRICHLET),
    "federated.public_share": Line("--federated.public_share 0.2"),
    "tuning.lr": Line("--tuning.lr 0.01"),
    "tuning.optimizer": Line(_SGD),
    "tuning.momentum": Line("--tuning.momentum 0.5", beside=_SGD),
    "tuning.nesterov": Line("--tuning.nesterov false", beside=_SGD),
    "tuning.weight_decay": Line("--tuning.weight_decay 0.5"),
    "tuning.label_smoothing": Line("--tuning.label_smoothing 0.2"),
    "tuning.dropout": Line("--tuning.dropout 0.3"),
    "tuning.mixup": Line("--tuning.mixup 0.5", REFUSED),
    "tuning.cutmix": Line("--tuning.cutmix 0.5", REFUSED),
    "tuning.loss": Line("--tuning.loss mse"),
    "tuning.ema": Line("--tuning.ema 0.9", REFUSED),
}
FEDERATE_IDLE = {
    "federated.alpha": Line("--federated.alpha 9", REFUSED),
    "federated.temperature": Line("--federated.temperature 4", REFUSED, "--federated.method fedmd"),
    "federated.public_share": Line(
        "--federated.public_share 0.2", REFUSED, "--public RotatedDigits"
    ),
    "tuning.momentum": Line("--tuning.momentum 0.5", REFUSED),
}
WALKED = [(FINE_TUNE, OF_FINE_TUNE), (DISTILL, OF_DISTILL), (FEDERATE, OF_FEDERATE)]
IDLE = [(FINE_TUNE, FINE_TUNE_IDLE), (DISTILL, DISTILL_IDLE), (FEDERATE, FEDERATE_IDLE)]
