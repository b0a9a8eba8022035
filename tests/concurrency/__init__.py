"""Writer and reader processes on one database and one Redis: each read returns all writes acknowledged before it."""
