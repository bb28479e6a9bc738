# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""hfseg: segmentation and dense vision models for the Hugging Face ecosystem."""

__version__ = "0.1.0"
