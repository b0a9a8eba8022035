"""What a hit costs, as a ratio to the floor in the same run: a bare redis-py GET and unpickling of the same rows.

A first look; it measures this library alone, on in-memory SQLite, with operations interleaved round by round.
"""

from __future__ import annotations

import os
import pickle
import platform
import statistics
import time

import django
from django.conf import settings

REDIS = os.environ.get("CACHEOPS_REDIS", "redis://127.0.0.1:6379/12")
ROUNDS = int(os.environ.get("BENCH_ROUNDS", 300))

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "cacheops_lite"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    CACHEOPS_REDIS=REDIS,
    CACHEOPS={"contenttypes.*": {"ops": "all", "timeout": 600}},
)
django.setup()


def main() -> None:
    from django.contrib.contenttypes.models import ContentType
    from django.core.management import call_command

    from cacheops_lite import invalidate_all
    from cacheops_lite.redis import get_client

    call_command("migrate", verbosity=0)
    ContentType.objects.bulk_create(ContentType(app_label="a", model=f"m{i}") for i in range(1000))
    invalidate_all()
    objects, client = ContentType.objects, get_client()
    some = objects.nocache()[5].pk
    cases = {
        "get by pk": (lambda manager: manager.get(pk=some), 1),
        "fetch 20": (lambda manager: list(manager.order_by("pk")[:20]), 20),
        "fetch 100": (lambda manager: list(manager.order_by("pk")[:100]), 100),
        "fetch 1,000": (lambda manager: list(manager.order_by("pk")[:1000]), 1000),
        "count": (lambda manager: manager.filter(app_label="a").count(), 0),
    }
    for name, (read, rows) in cases.items():
        client.set(f"bench:{name}", pickle.dumps(list(objects.nocache().values_list()[:rows]), -1))
        read(objects)
    print(f"Python {platform.python_version()}, Django {django.__version__}, {REDIS}, medians of {ROUNDS} rounds")
    print(f"{'':12} {'floor us':>9} {'no cache us':>12} {'hit us':>9} {'hit : floor':>12}")
    times: dict[str, list[list[float]]] = {name: [[], [], []] for name in cases}
    for _ in range(ROUNDS):
        for name, (read, _rows) in cases.items():
            steps = (
                lambda name=name: pickle.loads(client.get(f"bench:{name}")),
                lambda read=read: read(objects.nocache()),
                lambda read=read: read(objects.all()),
            )
            for taken, step in zip(times[name], steps, strict=True):
                start = time.perf_counter()
                step()
                taken.append(time.perf_counter() - start)
    for name, taken in times.items():
        floor, bare, hit = (statistics.median(each) * 1e6 for each in taken)
        print(f"{name:12} {floor:9.0f} {bare:12.0f} {hit:9.0f} {hit / floor:12.1f}")
    invalidate_all()
    for name in cases:
        client.delete(f"bench:{name}")


if __name__ == "__main__":
    main()
