"""`python -m launch.sweep` in a checkout is `seqfinal sweep`."""

import sys

from seqfinal_jax.sweeps.sweep import main

if __name__ == "__main__":
    sys.exit(main())
