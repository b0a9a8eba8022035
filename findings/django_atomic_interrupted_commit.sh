#!/usr/bin/env bash
# Django: what becomes of an atomic block whose COMMIT is interrupted before it is sent (KeyboardInterrupt, a time limit)?
# Expected: the block raises, and its writes are rolled back.
# Seen (Django 5.2.8, SQLite): the block raises, and its writes are committed: atomic() rolls back after errors of the database
# only, then turns autocommit on, and sqlite3 commits the transaction that is open.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q Django==5.2.8
"$folder/venv/bin/python" - "$folder/db.sqlite3" <<'PY'
import sqlite3
import sys

import django
from django.conf import settings

path = sys.argv[1]
settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": path}})
django.setup()
from django.db import connection, connections, transaction

with connection.cursor() as cursor:
    cursor.execute("CREATE TABLE t (a INTEGER)")


def interrupted(self):
    raise KeyboardInterrupt


type(connections["default"])._commit = interrupted
raised = False
try:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (1)")
except KeyboardInterrupt:
    raised = True
rows = sqlite3.connect(path).execute("SELECT * FROM t").fetchall()
print(f"Django {django.__version__}, SQLite {sqlite3.sqlite_version}: raised {raised}, rows {rows}")
assert raised
assert rows == [(1,)], "changed: the interrupted block is rolled back"
PY
echo "as described"
