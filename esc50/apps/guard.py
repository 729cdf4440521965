"""What the app's server lets in: sounds that were uploaded to it, and the requests that its page and scripts make."""

import asyncio
import logging
import re
import secrets
import shutil
import tempfile
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from gradio.route_utils import MultiPartException, upload_fn
from gradio.routes import file_upload_statuses
from gradio_client.utils import traverse
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

GONE = "This sound is not in the app, or not any more: give it again."  # the same whether or not such a file exists
NO_ROOM = "The app has no room for uploads now: try again in an hour."
TOO_LARGE = "The request is larger than the app takes."
TOO_SLOW = "The request came too slowly: send it again."
NOT_UNDERSTOOD = "The app does not understand this request."
# Gradio has more, which nothing here needs: proxies, stored sessions, ffmpeg on uploaded videos and so on.
ROUTES = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|robots\.txt|manifest\.json)|/(assets|static|svelte)/.+"
    r"|/gradio_api/(info|app_id|startup-events|upload|upload_progress|queue/join|queue/data|cancel|reset)"
    r"|/gradio_api/(heartbeat/[^/]+|run/[^/]+|call/.+|file=(?!https?:).+)"
)


@dataclass(frozen=True)
class GuardSettings:
    """How large requests may be and how slowly they may come, how much room they must leave, how long files stay."""

    max_file_bytes: int
    keep_files_seconds: float
    sweep_seconds: float
    max_form_bytes: int = 2**20  # what is not a file: the form around it, or the JSON of a question
    patience_seconds: float = 20.0  # the server waits so long for a body, and longer if that comes at this rate:
    min_bytes_per_second: float = 5_000.0
    min_free_bytes: int = 2**30  # on the disk; with less there are no uploads


class GuardedBlocks(gr.Blocks):
    """Blocks whose functions, however they are called, get no files but those of `uploads`."""

    def __init__(self, uploads, **options):
        self.uploads = uploads
        super().__init__(**options)

    async def preprocess_data(self, block_fn, inputs, state, explicit_call=False):
        """Check what was sent before Gradio opens or fetches any of it."""
        try:
            inputs = traverse(inputs, self.uploads.only_ours, _is_file)
            return await super().preprocess_data(block_fn, inputs, state, explicit_call)
        except (IndexError, RecursionError, TypeError, ValueError) as error:  # too few, too deep or not what is meant
            raise gr.Error(GONE, print_exception=False) from error


class Uploads:
    """The sounds that the app answers about: those that were uploaded, and its `own`.

    Every upload gets a folder whose name cannot be guessed, even by someone who has the same file.
    """

    def __init__(self, parent, settings):
        Path(parent).mkdir(parents=True, exist_ok=True)
        self.folder, self.settings = Path(tempfile.mkdtemp(dir=parent)).resolve(), settings  # for this user alone
        self.own_folder = self.folder / "own"
        self.own_folder.mkdir()
        self.files, self.own = set(), set()  # paths

    def __contains__(self, path):
        """Whether a path is, letter by letter, that of one of them."""
        return isinstance(path, str) and (path in self.files or path in self.own)

    def only_ours(self, file):
        """Reduce what a request says of a file to its path, and any path but of one of these to one to nowhere."""
        path = file["path"] if file.get("path") in self else str(self.folder / "gone")
        return {"path": path, "orig_name": Path(path).name, "meta": {"_type": "gradio.FileData"}}

    async def receive(self, request):
        """Store the files of a form: all of them or none."""
        folder, stored, upload_id = self.new_folder(), [], request.query_params.get("upload_id")
        watched = {"upload_id": upload_id, "upload_progress": file_upload_statuses if upload_id else None}
        try:
            if shutil.disk_usage(folder).free < self.settings.min_free_bytes:
                return PlainTextResponse(NO_ROOM, 503)
            stored, *_ = await upload_fn(request, folder, self.settings.max_file_bytes, **watched)
        except MultiPartException as error:
            return PlainTextResponse(error.message, 413 if "maximum allowed size" in error.message else 400)
        except OSError:
            return PlainTextResponse(NO_ROOM, 503)
        finally:
            if not stored:
                shutil.rmtree(folder, ignore_errors=True)
        self.files.update(stored)
        return JSONResponse(stored)

    def new_folder(self):
        """Make a folder that is swept."""
        folder = self.folder / secrets.token_hex(16)
        folder.mkdir(parents=True, mode=0o700)  # parents too, where something has cleared the disk
        return folder

    def sweep(self, *, keep_seconds):
        """Delete what is older, uploads that broke off included."""
        for folder in self.folder.glob("*"):
            with suppress(FileNotFoundError):  # an upload that has just broken off
                if folder != self.own_folder and time.time() - folder.stat().st_mtime > keep_seconds:
                    shutil.rmtree(folder, ignore_errors=True)
        self.files.difference_update([file for file in tuple(self.files) if not Path(file).exists()])

    @asynccontextmanager
    async def lifespan(self, _):
        """Sweep regularly while the server runs; at its end delete everything."""
        sweeping = asyncio.create_task(self._sweep_regularly())
        try:
            yield
        finally:
            sweeping.cancel()
            shutil.rmtree(self.folder, ignore_errors=True)

    async def _sweep_regularly(self):
        while True:
            await asyncio.sleep(self.settings.sweep_seconds)
            await asyncio.to_thread(self.sweep, keep_seconds=self.settings.keep_files_seconds)


class Guard:
    """ASGI middleware: lets `ROUTES` through, with bodies of some size and pace, and answers to others in a line."""

    def __init__(self, app, settings):
        self.app, self.settings = app, settings

    async def __call__(self, scope, receive, send):
        """Let a request through, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif ROUTES.fullmatch(scope["path"].removeprefix(scope.get("root_path", ""))):
            await self._let_through(scope, receive, send)
        else:
            await PlainTextResponse("Not found.", 404)(scope, receive, send)

    async def _let_through(self, scope, receive, send):
        has_started = False

        async def send_on(message):
            nonlocal has_started
            has_started = True
            await send(message)

        if scope["method"] == "POST":  # the only ones whose body is read
            receive = _Body(receive, scope["path"], self.settings)
        try:
            await self.app(scope, receive, send_on)
        except ClientDisconnect:
            pass
        except Exception as error:
            logging.getLogger(__name__).warning("%s %r: %r", scope["method"], scope["path"], error)
            if not has_started:
                await PlainTextResponse(NOT_UNDERSTOOD, 400)(scope, receive, send)


class _Body:
    """An ASGI `receive` that gives up on a body that is too large or keeps the server waiting."""

    def __init__(self, receive, path, settings):
        self.receive, self.settings = receive, settings
        self.max_bytes = settings.max_form_bytes + path.endswith("/upload") * settings.max_file_bytes
        self.n_bytes, self.waited_seconds, self.is_complete = 0, 0.0, False

    async def __call__(self):
        if self.is_complete:
            return await self.receive()  # waits until the client leaves
        message = await self._wait()
        self.n_bytes += len(message.get("body", b""))
        if self.n_bytes > self.max_bytes:
            raise HTTPException(413, TOO_LARGE, {"Connection": "close"})
        self.is_complete = not message.get("more_body", False)
        return message

    async def _wait(self):
        allowed = self.settings.patience_seconds + self.n_bytes / self.settings.min_bytes_per_second
        start = time.monotonic()
        try:
            return await asyncio.wait_for(self.receive(), allowed - self.waited_seconds)
        except TimeoutError as error:
            raise HTTPException(408, TOO_SLOW, {"Connection": "close"}) from error
        finally:
            self.waited_seconds += time.monotonic() - start


def server_options(uploads):
    """What `gradio.Blocks.launch` hands to FastAPI as `app_kwargs`."""
    return {
        "routes": [Route("/gradio_api/upload", uploads.receive, methods=["POST"])],  # before Gradio's own
        "middleware": [Middleware(Guard, settings=uploads.settings)],
        "lifespan": uploads.lifespan,
    }


def _is_file(value):
    return isinstance(value, dict) and bool({"path", "url"} & value.keys())
