"""Thin shells over the runtime: command line, web app, notebook widget, Space."""
