"""What a reader of the page may not know."""

SELECTION = (
    "20 % of the labelled images, at most 2,000, select the penalty of a probe and the best epoch "
    "of a training; with one image a class nothing is selected."
)
BEFORE = (
    "Paired over the same test images. For classes that the model was not trained on it is against "
    "the probe with the same labelled images where there is one, else against the old last layer, "
    "read by what its answers mean among the labelled images (LEEP)."
)
CKA = (
    "Similarity of a block's answers to what they were on the same images (unbiased linear CKA): "
    "1 has not moved, 0 has nothing left in common."
)
POWER_LAW = (
    "error = a + b · n^-c, fitted to the errors with n labelled images (Mahmood 2022). The "
    "interval draws test images and labelled images anew; it holds as far as the law does."
)
COST = {
    "forgotten, old head": "Points of accuracy on the source data that are lost when the old last "
    "layer is put back; negative is gained.",
    "forgotten, new probe": "The same with a last layer learnt anew: lost from the features.",
    "parameters": "How many learnt.",
    "distance": "Way that the weights below the last layer went, relative to their length.",
    "CKA, last block": CKA,
}
SCORES = {
    "leep": "How well the old head's answers tell the new classes, mean log-likelihood; at "
    "most 0 (Nguyen 2020).",
    "nce": "Negative conditional entropy of the new labels, given the old head's answers; at most "
    "0 (Tran 2019).",
    "h_score": "How far the features of the classes lie apart, against how far they "
    "scatter; too large where images are few (Bao 2019).",
    "regularised_h_score": "The H-score with a covariance that few images can bear (Ibrahim 2021).",
    "log_me": "Evidence of a Bayesian linear model on the features, its logarithm for each "
    "image (You 2021).",
    "trans_rate": "Information that features and labels share, in nats (Huang 2022).",
    "knn": "Share of images whose 5 nearest neighbours by the features vote for the right class.",
    "probe": "Share of held-out labelled images that a new last layer gets right.",
}
"""Scores that predict a transfer; higher predicts the better one."""
TITLES = {
    "leep": "LEEP", "nce": "NCE", "h_score": "H-score", "log_me": "LogME",
    "regularised_h_score": "regularised H-score", "trans_rate": "TransRate", "knn": "5-NN",
    "probe": "new last layer",
}  # fmt: skip
