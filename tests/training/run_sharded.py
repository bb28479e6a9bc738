# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The whole loop under FSDP2 on gloo processes: `run_sharded.py OUTPUT_DIR JSON`, options as those of `run_toy.py`.

The settings are those that `accelerate launch --config_file scripts/accelerate/fsdp2.yaml` hands to a process.
Accelerate turns FSDP on for accelerators only, so the kind of distribution is named here; all the rest is its own way:
units by the policy, sharded optimizers, clipping. `recipe` trains a recipe by `hfseg train` instead of the toy.
"""

import json
import os
import sys
from pathlib import Path

import run_toy
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from accelerate.utils.launch import prepare_multi_gpu_env

CONFIG = Path(__file__).parents[2] / "scripts" / "accelerate" / "fsdp2.yaml"


def launch_environment(precision: str) -> dict[str, str]:
    """What accelerate's launcher puts into the environment for our YAML, with another precision."""
    arguments = ["--config_file", str(CONFIG), "--mixed_precision", precision, "script.py"]
    validated, *_ = _validate_launch_command(launch_command_parser().parse_args(arguments))
    made = prepare_multi_gpu_env(validated)
    return {name: value for name, value in made.items() if name.startswith(("FSDP_", "ACCELERATE_"))}


def main() -> None:
    options = json.loads(sys.argv[2])
    os.environ.update(launch_environment(options.get("precision", "no")))
    PartialState(cpu=True)
    PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
    if "recipe" in options:
        from hfseg.commands.train import main as train_command

        train_command(["--output_dir", sys.argv[1], "--recipe", *options["recipe"]])
    else:
        run_toy.main()


if __name__ == "__main__":
    main()
