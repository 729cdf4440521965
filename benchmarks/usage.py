"""What a process costs."""

import os
import subprocess
import time

import click


def usage_of(command, **options):
    """Wall and CPU seconds and peak megabytes of a whole process."""
    start = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, **options)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise click.ClickException(f"{command} ended with {status}")
    seconds, cpu = time.perf_counter() - start, usage.ru_utime + usage.ru_stime
    return {"seconds": seconds, "cpu_seconds": cpu, "mb": usage.ru_maxrss * 1024 / 1e6}
