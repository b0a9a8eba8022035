"""Client classes of projects, and ways to make clients of them."""

import redis


class OwnRedis(redis.Redis):
    """A project's own class, with a method more."""

    def size(self):
        return self.dbsize()


class BlockingRedis(redis.Redis):
    """A client whose callers wait for a connection when all are in use."""

    @classmethod
    def from_url(cls, url, **options):
        return cls(connection_pool=redis.BlockingConnectionPool.from_url(url, max_connections=10, timeout=5, **options))
