# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Two processes: mean loss and averaged gradients must be those of all pairs on one."""

import torch
from torch import distributed

from hfseg.losses.contrastive import sigmoid_contrastive_loss


def main(folder: str) -> None:
    """Compares with the loss of the whole."""
    distributed.init_process_group("gloo")
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    torch.manual_seed(0)
    images, texts = torch.randn(2, 6, 5).unbind(0)
    scale, bias = torch.tensor(1.0), torch.tensor(-2.0)
    whole = [value.clone().requires_grad_() for value in (images, texts, scale, bias)]
    expected = sigmoid_contrastive_loss(*whole, gather=False)
    expected.backward()
    part = slice(rank * 3, rank * 3 + 3)
    own = [value.clone().requires_grad_() for value in (images[part], texts[part], scale, bias)]
    loss = sigmoid_contrastive_loss(*own, texts_at_once=2)
    loss.backward()
    mean = loss.detach().clone()
    distributed.all_reduce(mean)
    torch.testing.assert_close(mean / ranks, expected.detach())
    # Each process holds its own rows; averaging over processes divides by their number.
    for index in (0, 1):
        torch.testing.assert_close(own[index].grad / ranks, whole[index].grad[part])
    for index in (2, 3):
        distributed.all_reduce(own[index].grad)
        torch.testing.assert_close(own[index].grad / ranks, whole[index].grad)
    if rank == 0:
        print("equal", file=open(f"{folder}/done", "w"))
    distributed.destroy_process_group()
