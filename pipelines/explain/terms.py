"""What the columns of an explanation's tables mean, by section."""

TERMS = {
    "advice": {
        "Linear probe": "How often a linear function of what the layer answers tells the class, "
        "fitted on training images. Where it is right more often than the network, the layers "
        "behind it lose what this one knows.",
        "Repeated": "Units of which another one of the layer says the same: a correlation beyond "
        ".95 in absolute value.",
    },
    "methods": {
        "Forwards": "What one explanation costs: images sent forward, a gradient as two.",
        "Relevance gain": "Symmetric relevance gain: how much later the probability falls when the "
        "least influential patches are removed first than when the most influential are. 0 is a "
        "random map, 1 the most there can be.",
        "Most first, least first": "Mean share of the probability that is left while patches are "
        "removed, the most or the least influential ones first.",
        "Sparseness": "Gini index of the map: 0 is even, 1 a single pixel.",
        "Complexity": "Entropy of the map in nats: the smaller, the fewer pixels carry it.",
        "Sampling error": "Mean standard error of a pixel over other draws of masks, as a share of "
        "the map's largest value; a dash where nothing is drawn.",
        "Missing": "Median share that a map lacks of what it is to add up to: the change of the "
        "logit from the baseline, or of LRP the logit, of which biases take a part.",
        "Control": "Maps that know nothing of the model, random ones and edges: what a method has "
        "to beat.",
        "Rank correlation": "Of the maps of two methods: 1 is the same order of pixels, 0 none in "
        "common.",
    },
    "inside": {
        "Agreement": "Share of images on which the tree answers as the model does.",
        "Most frequent class": "The same for always answering the commonest class: what is free.",
        "Cohen's κ": "Agreement beyond chance: 0 is chance, 1 perfect.",
    },
    "changes": {
        "Agreement": "Rank correlation with the map before: 1 is the same order of pixels.",
        "Other answer": "Share of images whose predicted class has changed.",
    },
    "failure": {
        "AURC": "Area under the risk-coverage curve: the error rate among the most confident "
        "answers, averaged over how many are accepted. Smaller is better.",
        "Excess AURC": "What of it a perfect order of the same answers would save; 0 is perfect.",
        "AUGRC": "The same with errors counted among all images: the risk of accepting a wrong "
        "answer.",
    },
    "outliers": {
        "AUROC": "Probability that an own image looks more familiar than an outlier: 0.5 is "
        "chance, 1 perfect.",
        "FPR95 (in)": "Share of outliers accepted when 95 % of the own images are.",
        "FPR95 (out)": "Share of own images rejected when 95 % of the outliers are caught.",
        "MSP, max logit, energy": "Confidence of the answer: the largest probability, the largest "
        "score before the softmax, and the logarithm of the sum of all.",
        "Mahalanobis, RMDS": "Distance of the features from the nearest class, and the same "
        "relative to that from all training images.",
        "kNN, ViM": "Distance from the k-th nearest training image, and energy less the part of "
        "the features that training images do not have.",
    },
    "monitor": {
        "Drift": "Images that change in the middle of the stream: grainy as from a worse sensor, "
        "or darker.",
        "Stated for": "What the rate of false alarms is meant to hold for: windows of shuffled "
        "images, or of a stream in the data's own order, whose neighbours may be alike.",
        "Silent, constant": "Units that are zero, or the same, wherever they were looked at.",
        "1 %, median, 99 %": "Values below which that share of a layer's activations lies.",
    },
}
