# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Data sets, schemas, transforms and collation. Nothing here imports a model."""
