# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""LaVin-DiT: dense vision tasks shown by examples, as a diffusers pipeline."""
