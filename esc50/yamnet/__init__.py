"""YAMNet, Google's sound classifier trained on AudioSet."""
