# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg evaluate` with the oracle registered, for processes of its own (torchrun)."""

import sys

import oracle
from hfseg.commands.evaluate import main

if __name__ == "__main__":
    oracle.register()
    sys.exit(main())
