"""One perturbation against one or all heads of a model."""

from callbacks.adversarial.tasks.probe import JOINT, TaskAttack, attack_loss, broken_tasks

__all__ = ["JOINT", "TaskAttack", "attack_loss", "broken_tasks"]
