"""Each fault of Redis under load, with real processes and servers: ``make reliability`` writes the page about it."""
