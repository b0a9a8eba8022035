"""How many rows of each kind there are besides books."""

from __future__ import annotations

COUNTRIES, AUTHORS, PUBLISHERS, TAGS = 20, 500, 50, 200
# Lists are read by genre; bulk updates change one shelf of so many books.
GENRES, SHELF = 4, 100
# The first books of each genre have tags.
TAGGED = 200
