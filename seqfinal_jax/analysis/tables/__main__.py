"""python -m seqfinal_jax.analysis.tables WORKDIR."""

import sys

from seqfinal_jax.analysis.tables.text import main

if __name__ == "__main__":
    sys.exit(main())
