# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""One step of pre-training, sharded by FSDP2 over two gloo processes, gives the gradients of one process."""

from pathlib import Path

import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from hfseg import UniSegFormerConfig, UniSegFormerForPreTraining

CONFIG = {
    "encoder_config": {
        "image_size": 64,
        "embed_dim": 16,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 2, 4, 8],
        "window_size": 4,
        "drop_path_rate": 0.0,
    },
    "text_config": {
        "vocab_size": 32,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 4,
        "projection_size": 16,
    },
    "decoder_widths": [8, 8, 16, 16],
    "feature_size": 32,
    "mask_feature_size": 16,
    "hidden_size": 16,
    "num_queries": 4,
    "decoder_layers": 3,
    "num_attention_heads": 2,
    "dim_feedforward": 16,
    "pooling_heads": 2,
}


def build() -> UniSegFormerForPreTraining:
    """A seeded model, whose contrast is not saturated."""
    torch.manual_seed(0)
    model = UniSegFormerForPreTraining(UniSegFormerConfig(**CONFIG)).train()
    with torch.no_grad():
        model.contrastive_bias.fill_(-2.0)
    return model


def main(folder: str) -> None:
    """Compares; `folder` gets a file `done`."""
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    generator = torch.Generator().manual_seed(1)
    hidden = torch.tensor([[True, False, True, True]] * 4)
    batch = {
        "pixel_values": torch.randn(4, 3, 64, 64, generator=generator),
        "input_ids": torch.randint(0, 32, (4, 4), generator=generator),
        "masked_units": hidden,
    }
    sharded = build()
    mesh = init_device_mesh("cpu", (2,))
    units = set(sharded._no_split_modules)
    for module in list(sharded.modules()):
        if type(module).__name__ in units:
            fully_shard(module, mesh=mesh)
    fully_shard(sharded, mesh=mesh)
    sharded(**{name: value[2 * rank : 2 * rank + 2] for name, value in batch.items()}).loss.backward()
    gradients = {name: p.grad.full_tensor() for name, p in sharded.named_parameters()}
    if rank == 0:
        whole = build()
        # The other process is not to be asked here.
        distributed_is_initialized, distributed.is_initialized = distributed.is_initialized, lambda: False
        whole(**batch).loss.backward()
        distributed.is_initialized = distributed_is_initialized
        for name, parameter in whole.named_parameters():
            scale = max(1.0, parameter.grad.abs().max().item())
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-3, atol=1e-4 * scale, msg=name)
        (Path(folder) / "done").write_text("same")
    distributed.barrier()
    distributed.destroy_process_group()
