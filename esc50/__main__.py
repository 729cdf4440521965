"""``python -m esc50``: the same as the command ``esc50``."""

from esc50.apps.start import main

if __name__ == "__main__":
    main()
