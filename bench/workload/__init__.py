"""The workload of the soak: reads and writes as an application makes them, of which few objects get most."""
