# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Two processes that share every sequence of J-DiT give what one gives."""

import torch
from diffusers import ContextParallelConfig
from diffusers.hooks.context_parallel import apply_context_parallel
from diffusers.models._modeling_parallel import ParallelConfig
from torch import distributed

from hfseg import LavinDiTTransformer3DModel
from lavin_dit_models import TINY, drawn


def main(folder: str) -> None:
    """Compares one forward, with grouped key-value heads and two times; what `enable_parallelism` does on a GPU."""
    distributed.init_process_group("gloo")
    draw = torch.Generator().manual_seed(1)
    inputs = {
        "hidden_states": torch.randn(2, 12, 1, 8, 4, generator=draw),
        "encoder_hidden_states": torch.randn(2, 12, 5, 8, 4, generator=draw),
        "timestep": torch.tensor([0.3, 0.8]),
    }
    torch.manual_seed(0)
    model = drawn(LavinDiTTransformer3DModel(**TINY)).eval()
    with torch.no_grad():
        alone = model(**inputs).sample
        mesh = distributed.device_mesh.init_device_mesh("cpu", (1, 2), mesh_dim_names=("ring", "ulysses"))
        config = ParallelConfig(context_parallel_config=ContextParallelConfig(ulysses_degree=2))
        config.setup(distributed.get_rank(), 2, torch.device("cpu"), mesh=mesh)
        model._parallel_config = config
        for block in model.blocks:
            block.joint_attn.processor._parallel_config = config
        apply_context_parallel(model, config.context_parallel_config, model._cp_plan)
        lengths = []
        model.blocks[1].joint_attn.register_forward_pre_hook(
            lambda module, args: lengths.append([part.shape[1] for part in args[:2]])
        )
        together = model(**inputs).sample
    assert lengths == [[4, 20]], lengths  # half of 8 tokens of the target and of 40 of the condition
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    print("equal", file=open(f"{folder}/done{distributed.get_rank()}", "w"))
    distributed.destroy_process_group()
