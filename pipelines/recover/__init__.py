"""Recovery: what a repair may know, the strategies, one case, the atlas, and its pages."""
