"""Adapters to other packages, each of them optional: none is imported unless a project names it in its settings."""
