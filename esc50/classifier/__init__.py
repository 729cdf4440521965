"""The runtime: waveform to vectors, probabilities, verdict, events, explanation."""
