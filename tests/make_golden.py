"""Make esc50/yamnet/golden.npz from a SavedModel known to be YAMNet: python tests/make_golden.py FOLDER."""

import sys

import numpy as np
import tensorflow_hub

from esc50.yamnet.frames import GOLDEN_FILE, chirp, silence, yamnet_fingerprint
from esc50.yamnet.hub_module import Yamnet, check_yamnet


def main(folder):
    yamnet = Yamnet(tensorflow_hub.load(folder))
    np.savez_compressed(GOLDEN_FILE, embeddings=yamnet.embed(chirp()), silence=yamnet.embed(silence())[0])
    check_yamnet(yamnet)
    print(f"{GOLDEN_FILE}: {GOLDEN_FILE.stat().st_size} bytes, fingerprint {yamnet_fingerprint()}")


if __name__ == "__main__":
    main(sys.argv[1])
