# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Evaluation on labeled datasets, one module per kind of task."""
