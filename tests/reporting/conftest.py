import matplotlib.pyplot as plt
import pytest

from esc50.reporting import plots


@pytest.fixture(autouse=True)
def headless():
    plt.switch_backend("agg")
    plots.set_style()
    yield
    plt.close("all")
