"""Benchmarks: this library compared with its peers, and how cost grows.  They are not tests: slow is no failure."""
