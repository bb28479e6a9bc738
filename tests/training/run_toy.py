# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""One toy run as a process that can be killed: `run_toy.py OUTPUT_DIR JSON`, JSON with sections, `kill` and `dropout`.

`kill: {"after": n}` kills the process (SIGKILL, no clean-up) right after update n; `{"in_save": n, "file": m}` while
file m of the n-th checkpoint is being written, leaving half of it. `"rank": r` kills that process only.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from toy import ToyDataset, ToyGan, ToyModel, ToyStream, collate, toy_arguments

from hfseg.training import checkpointing, loop, train


def kill_after_update(step: int) -> None:
    original = loop._Run.update

    def update(self, batches):
        result = original(self, batches)
        if self.state.step == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    loop._Run.update = update


def kill_in_save(save: int, file: int) -> None:
    original, counts = checkpointing.write_tensors, {"files": 0, "folder": None, "saves": 0}

    def write_tensors(path: Path, *args):
        if path.parent != counts["folder"]:
            counts.update(folder=path.parent, files=0, saves=counts["saves"] + 1)
        counts["files"] += 1
        original(path, *args)
        if (counts["saves"], counts["files"]) == (save, file):
            with open(path, "r+b") as handle:
                handle.truncate(path.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    checkpointing.write_tensors = write_tensors


def record_keys(output_dir: Path) -> None:
    """Writes this rank's visits, `epoch name`, to `keys_<rank>.txt` beside the output."""
    original = loop._Run.update

    def update(self, batches):
        with open(output_dir.parent / f"keys_{self.accelerator.process_index}.txt", "a") as file:
            for keys, _ in batches:
                file.writelines(f"{key.epoch} {key.name}\n" for key in keys)
        return original(self, batches)

    loop._Run.update = update


def main() -> None:
    output_dir, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    kill = options.get("kill", {})
    if kill.get("rank", int(os.environ.get("RANK", 0))) != int(os.environ.get("RANK", 0)):
        kill = {}
    if "after" in kill:
        kill_after_update(kill["after"])
    if "in_save" in kill:
        kill_in_save(kill["in_save"], kill["file"])
    if options.get("record"):
        record_keys(output_dir)
    torch.manual_seed(0)
    train(
        (ToyGan if options.get("gan") else ToyModel)(options.get("dropout", 0.0)),
        ToyStream() if options.get("stream") else ToyDataset(noise=options.get("noise", True)),
        collate,
        toy_arguments(**options.get("sections", {})),
        output_dir=output_dir,
        evaluate_fn=(lambda model: {"score": float(next(model.parameters()).sum())})
        if options.get("evaluate")
        else None,
        resume_from_checkpoint=options.get("resume"),
    )


if __name__ == "__main__":
    main()
