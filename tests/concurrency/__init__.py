"""Writer and reader processes on one database and one Redis: no reader sees less than what was acknowledged before."""
