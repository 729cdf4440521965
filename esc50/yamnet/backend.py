"""Import TensorFlow lazily and without its start-up messages."""

import os
import sys
from contextlib import contextmanager


def quiet_tensorflow():
    """Import TensorFlow and Keras without start-up messages.

    Call it before anything that needs Keras; later calls do nothing. Import errors are still raised.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" not in sys.modules:
        with _silent_stderr():
            import keras
            import tensorflow as tf

            tf.config.list_physical_devices()  # the search for GPUs prints messages too
            tf.get_logger().setLevel("ERROR")  # hides warnings about retracing
            keras.backend.backend()


def import_tensorflow():
    """Import TensorFlow by `quiet_tensorflow`, and return it."""
    quiet_tensorflow()
    import tensorflow as tf

    return tf


def on_cpu():
    """Run a ``with`` block on the CPU: TF32 arithmetic on a GPU exceeds the tolerance of the golden check."""
    return import_tensorflow().device("CPU:0")


@contextmanager
def _silent_stderr():
    """Discard output that C++ code writes to file descriptor 2, which differs from `sys.stderr` in a notebook."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
