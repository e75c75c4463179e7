"""Adversarial input: attacks that search a ball round each image, and the probe that judges.

A new attack is a file and a line in `ATTACKS`.
"""

from collections.abc import Callable
from functools import partial

from callbacks.adversarial.apgd import APGD, TargetedAPGD
from callbacks.adversarial.attack import Attack, AttackResult
from callbacks.adversarial.attack_set import AttackSet, attack_sets
from callbacks.adversarial.auto_attack import AutoAttack
from callbacks.adversarial.certified import (
    CertifiedProbe,
    Crown,
    IntervalBounds,
    Smoothing,
    SmoothingProbe,
)
from callbacks.adversarial.fab import FAB, TargetedFAB
from callbacks.adversarial.fgsm import FGSM
from callbacks.adversarial.fgsm_rs import RandomStartFGSM
from callbacks.adversarial.free_training import FreeTraining
from callbacks.adversarial.hop_skip_jump import HopSkipJump
from callbacks.adversarial.masking import MaskingProbe, masking_beside
from callbacks.adversarial.mi_fgsm import MIFGSM
from callbacks.adversarial.minimum_norm import (
    DDN,
    FMN,
    CarliniWagner,
    DeepFool,
    MinimumNormAttack,
    MinimumNormProbe,
)
from callbacks.adversarial.nes import NES
from callbacks.adversarial.pgd import PGD
from callbacks.adversarial.pictures import AdversarialPictures
from callbacks.adversarial.probe import AdversarialProbe, Norm, Target
from callbacks.adversarial.soft_label_training import SoftLabelTraining
from callbacks.adversarial.spatial import Spatial, SpatialProbe
from callbacks.adversarial.spsa import SPSA
from callbacks.adversarial.square import Square
from callbacks.adversarial.summary import summarise
from callbacks.adversarial.threat_models import L1, L2, Linf
from callbacks.adversarial.training import AdversarialTraining
from callbacks.adversarial.transfer import Transfer
from callbacks.adversarial.universal import Patch, Universal, UniversalAttack, UniversalProbe
from callbacks.family import Entries, Entry, Family, each

ATTACKS: dict[str, Callable[..., Attack]] = {
    "fgsm": FGSM,
    "fgsm_rs": RandomStartFGSM,
    "mifgsm": MIFGSM,
    "pgd": PGD,
    "apgd": APGD,
    "apgd_dlr": partial(APGD, loss="dlr"),
    "apgd_t": TargetedAPGD,
    "fab": FAB,
    "fab_t": TargetedFAB,
    "square": Square,
    "spsa": SPSA,
    "nes": NES,
    "hopskipjump": HopSkipJump,
    "transfer": Transfer,
    "autoattack": AutoAttack,
    "autoattack_plus": partial(AutoAttack, version="plus"),
    "autoattack_rand": partial(AutoAttack, version="rand"),
}
"""Of `--attack NAME`; what each needs comes with `--norm`, `--epsilon` and so on."""

MINIMUM_NORM: dict[str, Callable[..., MinimumNormAttack]] = {
    "deepfool": DeepFool,
    "ddn": DDN,
    "fmn": FMN,
    "cw": CarliniWagner,
}
"""Of `--attack NAME` too: they look for the least change, and `--epsilon` is where it is read."""

SPATIAL: dict[str, Callable[..., Spatial]] = {
    "spatial": Spatial,
    "spatial_random": partial(Spatial, draws=10),
}
"""Of `--attack NAME` too: rotation and shift; `--epsilon` is the largest angle in degrees."""

UNIVERSAL: dict[str, Callable[..., UniversalAttack]] = {"universal": Universal, "patch": Patch}
"""Of `--attack NAME` too: one pattern for all images; of a patch `--epsilon` is its share."""

PROBES: Entries = {
    **each(ATTACKS, AdversarialProbe, "attack"),
    # Thousands of queries an image, so at the usual radius only.
    "square": Entry(AdversarialProbe, attack=Square, curve=(1.0,)),
    **each(MINIMUM_NORM, MinimumNormProbe, "attack"),
    "deepfool_linf": Entry(MinimumNormProbe, attack=DeepFool, norm="linf"),
    "fmn_linf": Entry(MinimumNormProbe, attack=FMN, norm="linf"),
    "fmn_l1": Entry(MinimumNormProbe, attack=FMN, norm="l1"),
    "fmn_l0": Entry(MinimumNormProbe, attack=FMN, norm="l0"),
    "fgsm_l2": Entry(AdversarialProbe, attack=FGSM, norm="l2"),
    "pgd_l2": Entry(AdversarialProbe, attack=PGD, norm="l2"),
    "pgd_targeted": Entry(AdversarialProbe, attack=PGD, targeted="least_likely"),
    "interval_bounds": Entry(CertifiedProbe, bounds=IntervalBounds),
    "crown": Entry(CertifiedProbe, bounds=Crown),
    "crown_l2": Entry(CertifiedProbe, bounds=Crown, norm="l2"),
    "smoothing": Entry(SmoothingProbe),
    "autoattack_l2": Entry(AdversarialProbe, attack=AutoAttack, norm="l2"),
    **each(SPATIAL, SpatialProbe, "attack"),
    **each(UNIVERSAL, UniversalProbe, "attack"),
    "universal_l2": Entry(UniversalProbe, attack=Universal, norm="l2"),
    "masking": Entry(MaskingProbe),
    "masking_l2": Entry(MaskingProbe, norm="l2"),
    "masking_l1": Entry(MaskingProbe, norm="l1"),
}

FAMILY = Family(
    name="adversarial",
    title="Under attack",
    text=(
        "Every image is changed within a ball of the given radius so that the model errs. Each "
        "curve is an upper bound: a stronger attack can only lower it."
    ),
    probes=PROBES,
    summarise=summarise,
    terms={
        "Robust accuracy": (
            "Counts an image only if the model gets it right and no attack of the set changed the "
            "answer at that radius or a smaller one. A weaker attack gives a higher number."
        ),
        "Certified accuracy": (
            "Counts an image only if no image in the ball can be answered otherwise, by bounds of "
            "the network itself: what is true lies between it and robust accuracy under attack."
        ),
        "Gradient masking": (
            "Attacks along the gradient break nothing where it is zero, random or points "
            "elsewhere, though other attacks do (Athalye et al. 2018). Looked for on some images "
            "by attacks that fail in different ways, at the largest of three radii at which PGD "
            "leaves each image right."
        ),
        "Right under the control": (
            "Of one pattern learnt for all images: accuracy under a random pattern of the same "
            "size, in the same place. What the learnt one takes beyond that is its own doing."
        ),
        "Median minimum perturbation": (
            "Half of the images are answered wrongly after a change of this size or less, as far "
            "as an attack found it: 0 where the model errs undisturbed. A stronger attack can only "
            "lower it."
        ),
        "Worst loss": (
            "The largest cross-entropy (nats) an attack found in the ball, averaged over images. "
            "Attacks that stop at the first error do not measure it."
        ),
    },
    headings={"control_correct": "right under the control", "success": "target reached"},
    presets={
        "quick": ("fgsm", "pgd"),
        "regular": ("fgsm", "pgd", "apgd_dlr", "square", "fgsm_l2", "pgd_l2"),
        "full": ("fgsm", "pgd", "pgd_targeted", "apgd_dlr", "square", "fgsm_l2", "pgd_l2"),
    },
    companions=masking_beside,
)

__all__ = [
    "APGD",
    "ATTACKS",
    "DDN",
    "FAB",
    "FAMILY",
    "FGSM",
    "FMN",
    "L1",
    "L2",
    "MIFGSM",
    "MINIMUM_NORM",
    "NES",
    "PGD",
    "PROBES",
    "SPATIAL",
    "SPSA",
    "UNIVERSAL",
    "AdversarialPictures",
    "AdversarialProbe",
    "AdversarialTraining",
    "Attack",
    "AttackResult",
    "AttackSet",
    "AutoAttack",
    "CarliniWagner",
    "CertifiedProbe",
    "Crown",
    "DeepFool",
    "FreeTraining",
    "HopSkipJump",
    "IntervalBounds",
    "Linf",
    "MaskingProbe",
    "MinimumNormAttack",
    "MinimumNormProbe",
    "Norm",
    "Patch",
    "RandomStartFGSM",
    "Smoothing",
    "SmoothingProbe",
    "SoftLabelTraining",
    "Spatial",
    "SpatialProbe",
    "Square",
    "Target",
    "TargetedAPGD",
    "TargetedFAB",
    "Transfer",
    "Universal",
    "UniversalAttack",
    "UniversalProbe",
    "attack_sets",
]
