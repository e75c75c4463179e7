"""Distillation: losses that are pure functions, and the module that trains a student by them."""

from lightning_modules.distillation.answers import HEAD_INPUT, Answers
from lightning_modules.distillation.attention import attention_loss, attention_map
from lightning_modules.distillation.cache import AnswerCache
from lightning_modules.distillation.compression import (
    Compressed,
    composed,
    count_pruned,
    hold_pruned,
    pruning_masks,
    rounded,
)
from lightning_modules.distillation.decoupled import decoupled_loss, decoupled_parts
from lightning_modules.distillation.distillation import Distillation, made_teachers
from lightning_modules.distillation.federated import ConsensusFitting, FederatedRecipe, fused
from lightning_modules.distillation.hints import hint_loss
from lightning_modules.distillation.initialisation import initialise_from
from lightning_modules.distillation.objectives import FEATURE_TERMS, SOFT_TERMS, LossInputs
from lightning_modules.distillation.recipe import USUAL, DistillationRecipe
from lightning_modules.distillation.relational import angle_loss, distance_loss, relational_loss
from lightning_modules.distillation.robust import rslad_loss
from lightning_modules.distillation.search_space import Search
from lightning_modules.distillation.sizes import largest, shown
from lightning_modules.distillation.soft_targets import soft_target_loss
from lightning_modules.distillation.teachers import Teachers
from lightning_modules.distillation.work import macs

__all__ = [
    "FEATURE_TERMS",
    "HEAD_INPUT",
    "SOFT_TERMS",
    "USUAL",
    "AnswerCache",
    "Answers",
    "Compressed",
    "ConsensusFitting",
    "Distillation",
    "DistillationRecipe",
    "FederatedRecipe",
    "LossInputs",
    "Search",
    "Teachers",
    "angle_loss",
    "attention_loss",
    "attention_map",
    "composed",
    "count_pruned",
    "decoupled_loss",
    "decoupled_parts",
    "distance_loss",
    "fused",
    "hint_loss",
    "hold_pruned",
    "initialise_from",
    "largest",
    "macs",
    "made_teachers",
    "pruning_masks",
    "relational_loss",
    "rounded",
    "rslad_loss",
    "shown",
    "soft_target_loss",
]
