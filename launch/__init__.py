"""`python -m launch.sweep` in a checkout is `seqfinal sweep`; the code is in `seqfinal_jax.sweeps`."""
