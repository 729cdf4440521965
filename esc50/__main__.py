"""Run the command line: ``python -m esc50`` is the same as ``esc50``."""

from esc50.apps.start import main

if __name__ == "__main__":
    main()
