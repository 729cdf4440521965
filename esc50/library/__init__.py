"""Your own recordings: indexed once, window by window, and searched by example."""
