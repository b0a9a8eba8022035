"""An app that makes tests faster: it empties tables between tests with ``DELETE`` instead of ``TRUNCATE``."""
