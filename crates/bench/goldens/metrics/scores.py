"""Scores of a cell by scikit-learn: writes scores.json beside it. Needs numpy and scikit-learn (1.9.1 wrote the file)."""

import json
import pathlib

import numpy
from sklearn.metrics import confusion_matrix, f1_score, log_loss, recall_score, top_k_accuracy_score

draw = numpy.random.default_rng(7)
images, classes = 90, 8
labels = draw.integers(0, classes - 1, images)  # the last class is never a label
logits = draw.normal(size=(images, classes)) + 2.0 * numpy.eye(classes)[labels] * (draw.random(images) < 0.7)[:, None]
logits = numpy.round(logits, 1)  # so that images share confidences
probabilities = numpy.exp(logits) / numpy.exp(logits).sum(1, keepdims=True)
probabilities = probabilities.astype(numpy.float32)
probabilities[1], labels[1] = probabilities[0], (labels[0] + 1) % 7  # one confidence, right and wrong
answers = probabilities.argmax(1)
confidences, right = probabilities.max(1), answers == labels

# AURC by its definition. Among images of one confidence errors are spread evenly: the mean over their orders.
values, sizes = numpy.unique(-confidences, return_counts=True)
risks, errors, taken = [], 0.0, 0
for value, size in zip(values, sizes):
    wrong = (~right[-confidences == value]).sum()
    risks += [(errors + wrong * part / size) / (taken + part) for part in range(1, size + 1)]
    errors, taken = errors + wrong, taken + size

occurring = numpy.unique(numpy.concatenate([labels, answers]))
recalls = recall_score(labels, answers, labels=numpy.unique(labels), average=None, zero_division=0)
out = {
    "accuracy": float(right.mean()),
    # Of equal scores scikit-learn puts the later class first, and everybody else the earlier one.
    "top5": float(top_k_accuracy_score(labels, probabilities - 1e-12 * numpy.arange(classes), k=5, labels=range(classes))),
    "nll": float(log_loss(labels, probabilities.astype(numpy.float64), labels=range(classes))),
    "brier": float(((probabilities.astype(numpy.float64) - numpy.eye(classes)[labels]) ** 2).sum(1).mean()),
    "f1": float(f1_score(labels, answers, labels=occurring, average="macro", zero_division=0)),
    "worst_class": float(recalls.min()),
    "aurc": float(numpy.mean(risks)),
}
confusion = confusion_matrix(labels, answers, labels=range(classes)).tolist()
case = {"labels": labels.tolist(), "probabilities": [[float(p) for p in row] for row in probabilities], "out": out, "confusion": confusion}
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(case) + "\n")
