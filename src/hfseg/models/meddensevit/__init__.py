# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""MedDenseViT: a plain vision transformer for dense prediction in MRI, CT and X-ray."""
