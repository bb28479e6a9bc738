# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Procedural datasets with exact ground truth, so that everything runs offline."""
