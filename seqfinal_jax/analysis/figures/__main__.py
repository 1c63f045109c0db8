"""python -m seqfinal_jax.analysis.figures."""

import sys

from seqfinal_jax.analysis.figures_command import main

sys.exit(main())
