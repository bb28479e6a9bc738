# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""One way to ask every model of the zoo, for the command line and the demo: a folder in, pictures and segments out."""

from .predictor import Options, Prediction, Predictor, Prompts, find_task

__all__ = ["Options", "Prediction", "Predictor", "Prompts", "find_task"]
