# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Unpair-Seg: promptable and open-vocabulary segmentation learned from unpaired masks and texts."""
