# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Preprocessing and targets shared by the image processors: one way, two backends."""
