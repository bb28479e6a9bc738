# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The Pillow backend: it needs no torchvision."""

import subprocess
import sys


def test_pil_backend_imports_without_torchvision():
    code = (
        "import sys; sys.modules['torchvision'] = None\n"
        "import importlib.util as u\n"
        "from hfseg.models.proscale.image_processing_pil_proscale import ProScaleImageProcessorPil as P\n"
        "import numpy as np\n"
        "assert P(do_resize=False)(np.zeros((8, 8, 3), np.uint8))['pixel_values'].shape == (1, 3, 32, 32)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
