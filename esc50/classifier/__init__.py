"""Inference: from a waveform to vectors, probabilities, a verdict, events and an explanation."""
