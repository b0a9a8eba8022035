"""The app that benchmarks read from and write to."""
