# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Progress of a run: images reach every kind of tracker."""

import types

import numpy as np
from PIL import Image

from hfseg.training.progress import Progress


def test_images_reach_every_kind_of_tracker(monkeypatch):
    got = {}

    def tracker(name):
        made = types.SimpleNamespace(name=name)
        if name == "trackio":
            made.tracker = types.SimpleNamespace(log=lambda values, step: got.update({name: (values, step)}))
        elif name != "numbers only":
            made.log_images = lambda values, step, **options: got.update({name: (values, step, options)})
        return made

    names = ("wandb", "tensorboard", "trackio", "numbers only")
    accelerator = types.SimpleNamespace(is_main_process=True, trackers=[tracker(name) for name in names])
    monkeypatch.setitem(__import__("sys").modules, "trackio", types.SimpleNamespace(Image=lambda array: array))
    Progress(accelerator, 3, 0, 1).show([Image.new("L", (5, 4), 7)], 3)
    for name, shape in (("wandb", (1, 4, 5, 3)), ("tensorboard", (1, 4, 5, 3)), ("trackio", (4, 5, 3))):
        values, step = got[name][:2]
        assert np.asarray(values["eval/sample_0"]).shape == shape and step == 3
    assert got["tensorboard"][2] == {"dataformats": "NHWC"} and "numbers only" not in got
