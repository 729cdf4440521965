"""What a timing depends on."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("numpy", "onnxruntime", "tensorflow", "tensorflow-hub")


def machine_facts():
    """What a timing depends on.

    Returns
    -------
    dict
        ``cpu``, ``cores``, ``python``, ``libraries`` and ``date``.
    """
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def _cpu_name():
    """From /proc where there is one; elsewhere what Python knows."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
