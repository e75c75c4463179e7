"""Images that were corrupted beforehand, measured as those that are corrupted here."""

from callbacks.corruption.stored.probe import StoredCorruption, StoredProbe, stored_probes

__all__ = ["StoredCorruption", "StoredProbe", "stored_probes"]
