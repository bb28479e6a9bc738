# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Metrics as `evaluate.Metric` classes that stream and merge; each says what it averages over. No model is imported."""
