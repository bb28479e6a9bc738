# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Reading images safely, writing atomically, names of labels."""
