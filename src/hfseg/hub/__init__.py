# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Model pages: cards (`cards`), the zoo's cards (`zoo`), what may be published (`checks`), and `publishing`."""
