"""Serve the app for the browser from a process of its own."""

import os
import signal
import tempfile


def serve(*, model, classes=None, store=None, **address):
    """Load the classifier and serve the app until it is stopped; then delete whatever was uploaded to it."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's stop, as Ctrl-C
    with tempfile.TemporaryDirectory(prefix="esc50-app-", ignore_cleanup_errors=True) as folder:  # for this user alone
        _prepare_gradio(folder)
        from esc50.apps import web
        from esc50.apps.labelling import open_store
        from esc50.classifier.predict import SoundClassifier, warm_up

        classifier = warm_up(SoundClassifier.load(model, classes=classes))
        app = web.launch(classifier, store=store and open_store(store, classifier), **address)
        print(f"The app runs at {app.share_url or app.local_url} (stop it with Ctrl-C).", flush=True)
        try:
            app.block_thread()
        finally:
            app.close(verbose=False)  # before its folder goes


def _prepare_gradio(folder):
    """Set what Gradio reads when it is imported: where files are kept and served from, and to do without proxies.

    It asks its own address as it starts, which no proxy can reach; the app itself asks nobody.
    """
    os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_EXAMPLES_CACHE": folder, "no_proxy": "*"}
    os.environ.pop("GRADIO_SERVER_NAME", None)  # `host` says it; Gradio would take no IPv6 address from here
