"""The keys of an identity provider by their address, a JWK Set: fetched off the loop, kept, and not too often.

A set that was fetched once is used until a newer one is there, also while the address is away, but not for ever: what
its provider has taken back meanwhile is not known. A token whose `kid` is
in no set waits for a fetch; where none may begin it cannot be decided, and it is told to come again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from http.client import HTTPException

import orjson

from realtime import metrics
from realtime.access.fetching import get
from realtime.access.verifying import PUBLIC, VerifyingKey, of_set
from realtime.bugs import bug
from realtime.errors import UnavailableError

log = logging.getLogger("realtime.access")

MOST_FETCHES, WINDOW_SECONDS = 5, 30.0
AT_ONCE, APART_SECONDS = 2, 6.0
"""So many may follow each other at once; then they keep apart, so that a flood does not use up the window's."""
WAIT_SECONDS = 2.0
STALE_SECONDS = 300.0
FETCH_SECONDS = 5.0
KEEP_SECONDS = 24 * 3600.0
MAX_BYTES = 256 * 1024


def fetch(url: str) -> Sequence[VerifyingKey]:
    """Get the set, for a thread. `OSError` or `ValueError` where there is none; takes `FETCH_SECONDS` at most."""
    return of_set(orjson.loads(get(url, FETCH_SECONDS, MAX_BYTES)))


class Pacer:
    """When a fetch may begin: at most `MOST_FETCHES` in any `WINDOW_SECONDS`. Times of one clock."""

    def __init__(self) -> None:
        self._begun: deque[float] = deque(maxlen=MOST_FETCHES)

    def wait(self, now: float) -> float:
        """Seconds until one may begin; 0.0: now."""
        recent = [begun for begun in self._begun if now - begun < WINDOW_SECONDS]
        if len(recent) < AT_ONCE:
            return 0.0
        apart = recent[-1] + APART_SECONDS
        full = recent[0] + WINDOW_SECONDS if len(recent) == MOST_FETCHES else now
        return max(apart, full, now) - now

    def began(self, now: float) -> None:
        """One begins."""
        self._begun.append(now)


class KeySet:
    """The set at an address. Asked on one event loop; `close` ends what is under way."""

    def __init__(
        self,
        url: str,
        get: Callable[[str], Sequence[VerifyingKey]] = fetch,
        *,
        keep_seconds: float = KEEP_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`keep_seconds`: no set is used that was fetched longer ago."""
        self._url = url
        self._get = get
        self._keep_seconds = keep_seconds
        self._clock = clock
        self._keys: Sequence[VerifyingKey] | None = None
        self._pacer = Pacer()
        self._fetching: asyncio.Task[None] | None = None
        self._fetched_at = float("-inf")
        self._failed = self._said_over = False
        self.fetches = 0

    @property
    def age(self) -> float | None:
        """Seconds since the set was fetched; None: none was."""
        return None if self._keys is None else self._clock() - self._fetched_at

    async def find(self, algorithm: str, kid: str | None) -> Sequence[VerifyingKey]:
        """The keys that a token with this header may be signed by; empty where the newest set has none.

        `UnavailableError` where that cannot be told for now.
        """
        if algorithm not in PUBLIC:
            return ()  # no set will ever have a key for it, so nobody needs to look
        came = self._clock()
        if came - self._fetched_at > STALE_SECONDS:
            self._begin(came)
        while not (found := self._among(algorithm, kid)):
            if self._fetched_at >= came:
                return ()  # asked for after the token was there, so its key would be in it
            await self._fetched(until=came + WAIT_SECONDS)
        return found

    def begin(self) -> None:
        """Fetch ahead, so that the first token need not wait."""
        self._begin(self._clock())

    async def close(self) -> None:
        """Nobody waits any longer; the thread of a fetch ends by its own time."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _among(self, algorithm: str, kid: str | None) -> list[VerifyingKey]:
        keys = () if self._over else self._keys or ()
        fit = [one for one in keys if one.algorithm == algorithm]
        return fit if kid is None else [one for one in fit if one.kid == kid]

    @property
    def _over(self) -> bool:
        return self.age is not None and self.age > self._keep_seconds

    async def _fetched(self, until: float) -> None:
        """Wait for the fetch under way, or a new one. `UnavailableError` where that comes to nothing."""
        now = self._clock()
        wait, before = self._begin(now), self._fetched_at
        if self._fetching is None:
            raise _later(wait)
        ended, _ = await asyncio.wait({self._fetching}, timeout=max(until - now, 0.0))
        if not ended or self._fetched_at == before:
            raise _later(APART_SECONDS if ended else 1.0)

    def _begin(self, now: float) -> float:
        """Begin a fetch unless one is under way, or may not begin yet: then the seconds until it may."""
        wait = 0.0 if self._fetching is not None else self._pacer.wait(now)
        if self._fetching is None and not wait:
            self._pacer.began(now)
            self.fetches += 1
            self._fetching = asyncio.create_task(self._fetch(now), name="jwks")
        return wait

    async def _fetch(self, began: float) -> None:
        try:
            keys = await asyncio.to_thread(self._get, self._url)
        except (OSError, ValueError, HTTPException) as error:
            self._say(error)
            self._failed = True
        except Exception as error:
            bug("jwks", error)
        else:
            if self._failed:
                log.info("the key set at %s is there again", self._url)
            if not keys:
                log.warning("the key set at %s has no key that tokens can be verified by here", self._url)
            self._keys, self._failed, self._said_over, self._fetched_at = keys, False, False, began
            metrics.KEYS_FETCHED.set(time.time())
        finally:
            self._fetching = None

    def _say(self, error: Exception) -> None:
        """Once, that it is away, and once that nobody is known any more: tokens must not fill the log."""
        if self._over and not self._said_over:
            self._said_over = True
            log.error(
                "the key set at %s cannot be had (%s), and the last one is older than %g s "
                "(REALTIME_JWKS_KEEP_SECONDS): nobody is let in by a token until it is there again",
                self._url,
                error,
                self._keep_seconds,
            )
        elif not self._failed:
            kept = "none was fetched yet"
            if self.age is not None:
                kept = f"the last one is used on, for {self._keep_seconds - self.age:.0f} s"
            log.warning("the key set at %s cannot be had (%s): %s", self._url, error, kept)


def _later(wait: float) -> UnavailableError:
    return UnavailableError(
        "the keys that tokens are signed by cannot be had just now", retry_after=round(max(wait, 0.1), 2)
    )
