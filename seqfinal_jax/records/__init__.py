"""Shared by all packages: registries of records, kinds of values, users' files and the identity of their code."""
