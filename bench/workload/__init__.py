"""The workload of the soak: the reads and writes of an application.  A few objects get most of them."""
