# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Sessions that stand for ONNX Runtime's: a shipped model itself, called as its exported file would be."""

import types

import torch

from hfseg.inference.export import describe_model, exportable
from hfseg.inference.loading import load
from hfseg.tasks import find_task, model_folder


class Session:
    """Inputs and outputs by name, as arrays; what the file would carry as metadata."""

    def __init__(self, name, candidate_labels=()):
        folder = model_folder(name)
        model = load(folder, with_processor=False).model
        self.target = exportable(model)
        task = find_task(folder)[0]
        self.about = describe_model(model, folder, task, self.target, (64, 64), candidate_labels)
        self.names = list(self.target.inputs(1, 64, 64))

    def get_modelmeta(self):
        return types.SimpleNamespace(custom_metadata_map=self.about)

    def get_inputs(self):
        return [types.SimpleNamespace(name=name, shape=["B", 3, "H", "W"]) for name in self.names]

    def get_outputs(self):
        return [types.SimpleNamespace(name=name) for name in self.target.outputs]

    @torch.no_grad()
    def run(self, wanted, feeds):
        assert wanted is None and set(feeds) == set(self.names)
        return [value.numpy() for value in self.target.module(*(torch.from_numpy(feeds[n]) for n in self.names))]
