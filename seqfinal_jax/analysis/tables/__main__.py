"""python -m seqfinal_jax.analysis.tables RUN [RUN...]."""

import sys

from seqfinal_jax.analysis.tables.command import main

if __name__ == "__main__":
    sys.exit(main())
