"""Re-export the Redis client under the import path of django-cacheops; the code is in `store.client`."""

from .store import get_client, redis_client

__all__ = ["get_client", "redis_client"]
