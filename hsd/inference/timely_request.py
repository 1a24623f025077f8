"""A request that has so many seconds in all, however often the server sends a sign of life."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx2


class _Timely(httpx2.SyncByteStream):
    """The bytes of an answer, as long as there is time."""

    def __init__(self, stream: httpx2.SyncByteStream, is_over: Callable[[], bool]) -> None:
        self._stream = stream
        self._is_over = is_over

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            if self._is_over():
                raise httpx2.ReadTimeout("the request's time is over")
            yield chunk

    def close(self) -> None:
        self._stream.close()


def post_within(
    client: httpx2.Client, url: str, seconds: float, clock: Callable[[], float],
    connect_s: float | None = None, **content: Any,
) -> httpx2.Response:  # fmt: skip
    """Send a request and return its whole answer; `connect_s` is for the connection.

    Raises ReadTimeout once `seconds` are over. httpx2's own timeout is of each read: servers and
    proxies that send a blank line now and then, while a model is busy, never run into it.
    """
    end = clock() + seconds
    limits = httpx2.Timeout(seconds, connect=connect_s or seconds)
    with client.stream("POST", url, timeout=limits, **content) as response:
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = _Timely(response.stream, lambda: clock() > end)
        response.read()
    return response
