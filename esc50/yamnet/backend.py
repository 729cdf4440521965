"""TensorFlow, imported late and quietly."""

import os
import sys
from contextlib import contextmanager


def quiet_tensorflow():
    """Import TensorFlow and Keras without the start-up lines that they print about this machine.

    Call it before anything that needs Keras; later calls do nothing. Errors of the import itself still appear.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" not in sys.modules:
        with _silent_stderr():
            import keras
            import tensorflow as tf

            tf.config.list_physical_devices()  # looks for GPUs, the other source of such lines
            tf.get_logger().setLevel("ERROR")  # it warns that each new head is traced anew
            keras.backend.backend()


def import_tensorflow():
    """TensorFlow, imported by `quiet_tensorflow`."""
    quiet_tensorflow()
    import tensorflow as tf

    return tf


def on_cpu():
    """Run a ``with`` block on the CPU: the TF32 arithmetic of a GPU is off by more than the golden check allows."""
    return import_tensorflow().device("CPU:0")


@contextmanager
def _silent_stderr():
    """Send what C++ writes to file descriptor 2 nowhere; Python's own `sys.stderr` in a notebook is not that."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
