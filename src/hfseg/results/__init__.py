# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Result types, drawing, and the visual formats of dense tasks."""
