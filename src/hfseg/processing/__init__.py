# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""From images and maps to batches, and from outputs to results: one way, two backends that differ by hooks only."""
