"""What all rooms share: registries of records, kinds of values, users' files and the identity of their code."""
