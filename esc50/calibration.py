"""Does a probability of 80 % mean right four times in five? Temperature scaling and how it is measured."""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from esc50.config import TrustSettings

TINY = 1e-7  # probabilities below this count as this: float32 gives nothing better
TEMPERATURE_BOUNDS = (0.05, 20.0)


def temper(probabilities, temperature):
    """Make probabilities less sure (temperature above 1) or surer (below 1) without changing their order.

    Guo et al. 2017, arXiv 1706.04599, section 4.2: the softmax of the logits over the temperature, for which the
    logarithms of the probabilities serve as well.

    Parameters
    ----------
    probabilities : np.ndarray, shape (..., n_classes)
        They sum to 1.
    temperature : float
        Above zero; 1 changes nothing.

    Returns
    -------
    np.ndarray, shape (..., n_classes)
        Same dtype; they sum to 1.
    """
    log_probabilities = np.log(np.maximum(probabilities, TINY))
    return softmax(log_probabilities / temperature, axis=-1).astype(probabilities.dtype)


def fit_temperature(targets, probabilities):
    """Find the temperature under which the true labels are most likely.

    Parameters
    ----------
    targets : np.ndarray, shape (n_clips,)
        Labels.
    probabilities : np.ndarray, shape (n_clips, n_classes)
        From networks that were not trained on these clips.

    Returns
    -------
    float
        Between 0.05 and 20.
    """

    def loss(log_temperature):
        return negative_log_likelihood(targets, temper(probabilities, np.exp(log_temperature)))

    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURE_BOUNDS), method="bounded").x))


def negative_log_likelihood(targets, probabilities):
    """Mean of minus the logarithm of the true class's probability.

    Parameters
    ----------
    targets : np.ndarray, shape (n_clips,)
        Labels.
    probabilities : np.ndarray, shape (n_clips, n_classes)
        They sum to 1.

    Returns
    -------
    float
        In nats; 0 is perfect.
    """
    own = np.take_along_axis(probabilities, np.asarray(targets)[:, None], axis=1)
    return float(-np.log(np.maximum(own, TINY)).mean())


def reliability_table(correct, confidence, *, n_bins=TrustSettings.reliability_bins):
    """How often answers are right, by how sure they were.

    Parameters
    ----------
    correct : np.ndarray of bool, shape (n_clips,)
        Whether the most probable class is the true one.
    confidence : np.ndarray, shape (n_clips,)
        Its probability.
    n_bins : int
        Bins of equal width between 0 and 1; a value on an edge belongs to the lower bin.

    Returns
    -------
    pandas.DataFrame, n_bins rows
        Columns low, high, clips, confidence and accuracy, the means in the bin: NaN where it is empty.
    """
    edges = np.linspace(0, 1, n_bins + 1)
    number = np.clip(np.searchsorted(edges, confidence) - 1, 0, n_bins - 1)  # (n_clips,)
    clips = np.bincount(number, minlength=n_bins)
    with np.errstate(invalid="ignore"):
        means = {
            name: np.bincount(number, weights=values, minlength=n_bins) / clips
            for name, values in {"confidence": confidence, "accuracy": correct}.items()
        }
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "clips": clips, **means})


def expected_calibration_error(correct, confidence, *, n_bins=TrustSettings.reliability_bins):
    """Mean distance between how sure and how right, over bins of equal width (ECE; Guo et al. 2017, equation 3).

    Parameters
    ----------
    correct : np.ndarray of bool, shape (n_clips,)
        Whether the most probable class is the true one.
    confidence : np.ndarray, shape (n_clips,)
        Its probability.
    n_bins : int
        Number of bins.

    Returns
    -------
    float
        Share of 1; bins count by their clips.
    """
    table = reliability_table(correct, confidence, n_bins=n_bins).dropna()
    return float(np.average((table["accuracy"] - table["confidence"]).abs(), weights=table["clips"]))


def risk_coverage(correct, confidence):
    """Share of wrong answers when only the surest are given (El-Yaniv and Wiener 2010).

    Parameters
    ----------
    correct : np.ndarray of bool, shape (n_clips,)
        Whether each answer is right; for sounds of no known class it never is.
    confidence : np.ndarray, shape (n_clips,)
        Any score that is higher for surer answers; equal ones stay in their order.

    Returns
    -------
    coverage, risk : np.ndarray, shape (n_clips,)
        Share of the sounds that are answered, and of the answers that are wrong.
    """
    order = np.argsort(-np.asarray(confidence), kind="stable")
    answered = np.arange(1, len(order) + 1)
    return answered / len(order), np.cumsum(~np.asarray(correct, bool)[order]) / answered


def area_under_risk_coverage(correct, confidence):
    """Mean risk over all coverages (AURC): the lower, the better the score tells right from wrong.

    Parameters
    ----------
    correct : np.ndarray of bool, shape (n_clips,)
        Whether each answer is right.
    confidence : np.ndarray, shape (n_clips,)
        Higher for surer answers.

    Returns
    -------
    float
        Share of 1.
    """
    return float(risk_coverage(correct, confidence)[1].mean())
