# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`python -m hfseg`, where the command `hfseg` is not on the path."""

import sys

from .commands.main import main

if __name__ == "__main__":
    sys.exit(main())
