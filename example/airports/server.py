"""Describe the Redis server of the cache."""

from urllib.parse import urlsplit

import redis
from django.conf import settings


def describe_redis():
    """Return its version and address in one line, without the password.

    Raises redis.RedisError if it does not answer.
    """
    client_class = getattr(settings, "CACHEOPS_CLIENT_CLASS", None)
    if str(client_class).startswith("fakeredis."):
        return "Redis: embedded fakeredis, in process"
    address = settings.CACHEOPS_REDIS
    if isinstance(address, dict):
        client = redis.Redis(**address)
        place = f"redis://{address.get('host', 'localhost')}:{address.get('port', 6379)}"
    else:
        client = redis.Redis.from_url(address)
        url = urlsplit(address)
        place = url._replace(netloc=url.netloc.rpartition("@")[2], query="").geturl()
    with client:
        return f"Redis {client.info('server')['redis_version']} at {place}"
