# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Losses and matching: tensors in, tensors out, no configuration objects."""
