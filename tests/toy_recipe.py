# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""A recipe of a transformers model on the toy dataset."""

RECIPE = """
model:
  model_type: segformer
  task: semantic
  config: {hidden_sizes: [8, 8, 8, 8], depths: [1, 1, 1, 1], num_attention_heads: [1, 1, 1, 1], sr_ratios: [1, 1, 1, 1],
           decoder_hidden_size: 8, num_labels: 2}
data: {name: "toy:ToyDataset", train: {length: 9}, validation: {length: 5, noise: false}, collate: "toy:collate"}
optimizer: {learning_rate: 1e-3, backbone_names: [segformer], backbone_multiplier: 0.1}
schedule: {name: poly, warmup_steps: 1}
run: {max_steps: 4, evaluate_every: 2, metric: loss, greater_is_better: false, log_every: 1}
"""
