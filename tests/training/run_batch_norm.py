# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Three updates of a small network of batch norms, on as many processes as there are: `run_batch_norm.py FILE JSON`.

Rank 0 writes loss, gradients and statistics of every update. `parts` says how many samples each rank takes.
"""

import json
import sys

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import distributed, nn

from hfseg.training.synchronization import synchronize_batch_norm


def network() -> nn.Module:
    torch.manual_seed(0)
    plain = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=None), nn.ReLU(), nn.Conv2d(4, 5, 1), BatchNormAct2d(5)]
    return nn.Sequential(*plain, nn.Flatten(2), nn.BatchNorm1d(5, affine=False), nn.Conv1d(5, 2, 1)).double()


def main() -> None:
    file, options = sys.argv[1], json.loads(sys.argv[2])
    parts = options["parts"]
    if len(parts) > 1:
        distributed.init_process_group("gloo")
        rank = distributed.get_rank()
    else:
        rank = 0
    model = network()
    if options["synchronize"]:
        model = synchronize_batch_norm(model, torch.device("cpu"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    images = 3 * torch.randn(3, sum(parts), 3, 6, 5, generator=torch.Generator().manual_seed(1)).double() + 7
    start, records = sum(parts[:rank]), {}
    for step, batch in enumerate(images):
        # A sum over samples and processes: the same number, however they are dealt out.
        loss = model(batch[start : start + parts[rank]]).square().sum(0).mean() / len(batch)
        optimizer.zero_grad()
        loss.backward()
        total = loss.detach().clone()
        for value in (total, *(weight.grad for weight in model.parameters())) if len(parts) > 1 else ():
            distributed.all_reduce(value)
        records |= {f"{step}.loss": total, f"{step}.gradient": model[0].weight.grad.clone()}
        optimizer.step()
    model.eval()
    records |= {name: value.clone() for name, value in model.state_dict().items()}
    records["evaluated"] = model(images[0]).detach()
    if rank == 0:
        torch.save(records, file)


if __name__ == "__main__":
    main()
