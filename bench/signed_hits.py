"""Measure what signing adds to hits, beside a checksum and beside no check at all."""

from __future__ import annotations

from typing import Any

from .alternating import Alternating
from .reads import Fetch100, Get
from .worker import CountedQueries

# What a hit with signing may take, as a share of the same hit without it.
BOUND = 1.03


class _Signing(Alternating):
    """With ``CACHEOPS_SIGNING`` on against off, where values have an unkeyed checksum instead."""

    bound_in_units = BOUND
    # A change of settings clears what is derived from them, such as query plans.
    turn, turn_warmups = 20, 4

    def prepare(self) -> None:
        self.override: Any = None
        super().prepare()
        for is_on in (True, False):
            self.switch(is_on)
            # The second call is no hit yet if the reply to the fill was not awaited.
            for _ in range(3):
                self.step()
        self.reset()

    def switch(self, is_on: bool) -> None:
        from django.test import override_settings

        self.reset()
        # With prefixes of the same length, both ways have values of their own.
        prefix = "signed" if is_on else "summed"
        self.override = override_settings(CACHEOPS_SIGNING=is_on, CACHEOPS_PREFIX=prefix)
        self.override.enable()

    def reset(self) -> None:
        if self.override is not None:
            self.override.disable()
            self.override = None

    def block(self) -> float:
        with CountedQueries() as queries:
            figure = super().block()
        if queries.count:
            raise AssertionError("what should have been a hit ran SQL")
        return figure


class _Checking(_Signing):
    """With ``CACHEOPS_SIGNING`` on, against the same code that checks nothing."""

    # What is added cannot be turned off: without signing, damaged values are found by the checksum.
    bound_in_units = None
    turn, turn_warmups = 1, 0

    def switch(self, is_on: bool) -> None:
        from cacheops_lite.store import signatures, stored_value

        stored_value.is_signed = signatures.is_signed if is_on else _accept

    def reset(self) -> None:
        self.switch(True)


def _accept(*arguments: Any) -> bool:
    return True


class SignedGet(_Signing, Get):
    name, title = "signing-get", "signing : checksum, get by pk, hit"


class SignedFetch(_Signing, Fetch100):
    name, title = "signing-fetch", "signing : checksum, fetch 100, hit"


class CheckedGet(_Checking, Get):
    name, title = "signing-check-get", "signing : no check, get by pk, hit"


class CheckedFetch(_Checking, Fetch100):
    name, title = "signing-check-fetch", "signing : no check, fetch 100, hit"


SIGNING = (SignedGet, SignedFetch, CheckedGet, CheckedFetch)
