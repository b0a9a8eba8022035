"""Names of attributes.  The first ones are those of the semantic conventions for databases and code."""

from __future__ import annotations

DB_SYSTEM_NAME = "db.system.name"
DB_OPERATION_NAME = "db.operation.name"
DB_COLLECTION_NAME = "db.collection.name"
DB_QUERY_TEXT = "db.query.text"
CODE_FILE_PATH = "code.file.path"
CODE_LINE_NUMBER = "code.line.number"

OPERATION = DB_OPERATION_NAME
# The label of the model, or the dotted name of the decorated function.
MODEL = "cacheops.model"
OUTCOME = "cacheops.outcome"
REASON = "cacheops.reason"
# The hash that is the last part of the value's key.
FINGERPRINT = "cacheops.fingerprint"
# The size of the stored value, in bytes.
SIZE = "cacheops.size"
# The time of the database or of the decorated function, in seconds; for a hit, when the value was stored.
COMPUTE_SECONDS = "cacheops.compute_seconds"
# The kind of write, such as ``save`` or ``update``.
WRITE = "cacheops.write"
INVALIDATED = "cacheops.invalidated_dependencies"
