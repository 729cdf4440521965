"""Classical baselines: those of the ESC-50 paper on MFCCs (Piczak 2015, section 4), and logistic regression."""

from functools import partial

import numpy as np
from scipy.special import softmax

from esc50.dataset.features import mfcc_statistics
from esc50.experiments.base import Experiment, Fitted, Model


def prepare_mfcc(log_mel):
    """Return MFCC statistics, (n_clips, 80)."""
    return mfcc_statistics(log_mel["log_mel"])


def prepare_mean(yamnet):
    """Return mean embeddings, (n_clips, 1024)."""
    return yamnet["embeddings"].mean(axis=1)


def build(name, seed):
    """Return an untrained classifier."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    classifiers = {
        "mfcc_knn": lambda: KNeighborsClassifier(n_neighbors=10, weights="distance"),
        "mfcc_svm": lambda: SVC(C=1.0),
        "mfcc_random_forest": lambda: RandomForestClassifier(n_estimators=500, random_state=seed, n_jobs=-1),
        "yamnet_logistic": lambda: LogisticRegression(C=0.01, max_iter=1000),
    }
    return classifiers[name]()


def fit(name, inputs, targets, *, seed, **_):
    """Standardise and fit; the SVM's probabilities are the softmax of its decision function."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):  # five times as fast as multi-threaded for such small products
        model = make_pipeline(StandardScaler(), build(name, seed)).fit(inputs, targets)
    if not hasattr(model, "predict_proba"):
        return Fitted(lambda test: {name: softmax(model.decision_function(test), axis=1).astype(np.float32)})
    return Fitted(lambda test: {name: model.predict_proba(test).astype(np.float32)})


TITLES = {
    "mfcc_knn": "k-NN on MFCC statistics",
    "mfcc_svm": "SVM on MFCC statistics",
    "mfcc_random_forest": "random forest on MFCC statistics",
}
EXPERIMENTS = [
    *(Experiment(m, ("log_mel",), prepare_mfcc, partial(fit, m), {m: Model(title)}) for m, title in TITLES.items()),
    Experiment(
        "yamnet_logistic",
        ("yamnet",),
        prepare_mean,
        partial(fit, "yamnet_logistic"),
        {"yamnet_logistic": Model("logistic regression on the clip's mean embedding, all frames")},
    ),
]
