# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""PRO-SCALE: universal segmentation with progressive token length scaling."""
