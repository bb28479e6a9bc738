# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Data: readers, schemas, transforms, collation, embedded scenes."""
