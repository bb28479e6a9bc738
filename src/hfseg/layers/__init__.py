# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Building blocks: tensors in, tensors out, no configuration objects."""
