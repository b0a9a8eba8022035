"""Benchmarks: this library beside its peers, and how cost grows.  Not tests: nothing here fails for being slow."""
