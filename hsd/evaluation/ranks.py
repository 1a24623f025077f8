"""The processes of one evaluation: they wait for each other, and none is left waiting for ever.

They talk through the launcher's key-value store. A collective operation cannot be left when a
signal comes, and hangs when another process is gone; a question to the store can, and does not.
"""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import torch

from hsd.errors import PreflightError, TakenOver
from hsd.io.stopping import StopRequest
from hsd.model.placement import Launch

POLL_S = 0.05
HEARD_S = 30.0
"""How long the first rank stays for the others to hear its last word: the store may be its own."""
_LEFT = "left"


class StopRequested(Exception):  # noqa: N818 - a request, not a fault
    """Raised where an evaluation is left before its end."""


class Ranks:
    """One process's line to the others: `with` it, they hear of it when an exception ends it.

    `name` is the evaluation's, the same on all ranks: a launch may do several.
    """

    def __init__(self, here: Launch, request: StopRequest, name: str, store: Any = None) -> None:
        self._here, self._request = here, request
        if store is None and here.world_size > 1:
            store, _, _ = next(torch.distributed.rendezvous("env://"))
        self._store = None if store is None else torch.distributed.PrefixStore(name, store)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if error is not None:
            self._tell(_LEFT)

    def check_stop(self) -> None:
        """Raise StopRequested when this process was asked to, or another one has left.

        Raises TakenOver when the evaluation's folder is another process's by now.
        """
        if self._request.lost:
            raise TakenOver(self._request.lost)
        if self._request.asked or not self._all_here():
            raise StopRequested

    @property
    def lost(self) -> bool:
        """Whether the evaluation's folder is another process's by now."""
        return self._request.lost is not None

    def gather(self, what: str) -> None:
        """Say that this rank got there, and wait for all; raises as `check_stop` until all have."""
        self._tell(f"{what}/{self._here.rank}")
        self._wait_for(what)

    def exchange(self, what: str, value: str) -> list[str]:
        """Return what every rank says, in their order; waits and raises as `gather`."""
        self._tell(f"{what}/{self._here.rank}", value)
        self._wait_for(what)
        if self._store is None:
            return [value]
        return [self._heard(key) for key in self._keys(what)]

    def follow(self, what: str) -> None:
        """Let the first rank say that it got there; the others wait for it, or until it is gone.

        What it did is on the disk, where the others have to look. They do not stop meanwhile:
        it is about to end something. The first rank stays until all have heard it, or one is gone.
        """
        if self._here.is_main:
            self._tell(what)
            self._stay_for(what)
            return
        self._wait_for_the_first(what)
        self._tell(f"{what}/{self._here.rank}")

    def as_the_first(self, what: str, act: Callable[[], None]) -> None:
        """Let the first rank `act`, and the others wait; where it is refused, all are, alike.

        Raises PreflightError with the first rank's words, and StopRequested where it is gone.
        """
        if not self._here.is_main:
            self._wait_for_the_first(what)
            if not self._told([what]):
                raise StopRequested
            if refusal := self._heard(what):
                self._tell(f"{what}/{self._here.rank}")
                raise PreflightError(refusal)
            return
        try:
            act()
        except PreflightError as error:
            self._tell(what, str(error))
            self._stay_for(what)
            raise
        self._tell(what)

    def _keys(self, what: str) -> list[str]:
        return [f"{what}/{rank}" for rank in range(self._here.world_size)]

    def _wait_for_the_first(self, what: str) -> None:
        while not self._told([what]) and self._all_here():
            time.sleep(POLL_S)

    def _stay_for(self, what: str) -> None:
        """Wait until the others have heard `what`: who keeps the store takes its words along."""
        end, others = time.monotonic() + HEARD_S, self._keys(what)[1:]
        while not self._told(others) and self._all_here() and time.monotonic() < end:
            time.sleep(POLL_S)

    def _wait_for(self, what: str) -> None:
        while not self._told(self._keys(what)):
            self.check_stop()
            time.sleep(POLL_S)

    def _all_here(self) -> bool:
        """Whether no rank has left; one that keeps the store takes it along."""
        try:
            return self._store is None or not self._store.check([_LEFT])
        except torch.distributed.DistError:
            return False

    def _told(self, keys: list[str]) -> bool:
        try:
            return self._store is None or bool(self._store.check(keys))
        except torch.distributed.DistError:
            return False

    def _heard(self, key: str) -> str:
        assert self._store is not None
        try:
            return str(self._store.get(key).decode())
        except torch.distributed.DistError:  # who keeps the store has left
            raise StopRequested from None

    def _tell(self, key: str, value: str = "") -> None:
        try:
            if self._store is not None:
                self._store.set(key, value)
        except torch.distributed.DistError:
            pass  # nobody is left to hear it
