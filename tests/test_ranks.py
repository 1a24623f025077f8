"""Processes of one evaluation, as threads with a store of their own: none waits for ever."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from hsd.errors import InUseError, TakenOver
from hsd.io.stopping import StopRequest

pytestmark = pytest.mark.model


@pytest.fixture
def ranks() -> Callable[..., Any]:
    """Give `ranks(n)`: the lines of n processes that share a store, and their requests."""
    from torch.distributed import HashStore

    from hsd.evaluation.ranks import Ranks
    from hsd.model.placement import Launch

    store = HashStore()

    def make(count: int, name: str = "one") -> list[tuple[Any, StopRequest]]:
        requests = [StopRequest(launched=True) for _ in range(count)]
        places = [Launch(rank, rank, count) for rank in range(count)]
        pairs = zip(places, requests, strict=True)
        return [(Ranks(place, request, name, store), request) for place, request in pairs]

    return make


class Waiting:
    """A call in a thread, and how it ended: what it raised, or None."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(call,), daemon=True)
        self._thread.start()

    def _run(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # whatever it is, the test looks at it
            self.error = error

    def goes_on(self) -> bool:
        self._thread.join(0.2)
        return self._thread.is_alive()

    def ended(self) -> str:
        self._thread.join(10)
        assert not self._thread.is_alive(), "it waits for ever"
        return type(self.error).__name__


def test_a_rank_waits_until_all_have_come(ranks: Callable[..., Any]) -> None:
    (one, _), (two, _) = ranks(2)
    waiting = Waiting(lambda: one.gather("here"))
    assert waiting.goes_on()
    two.gather("here")
    assert waiting.ended() == "NoneType"


def test_who_is_asked_to_stop_waits_no_longer_and_the_others_hear_of_it(
    ranks: Callable[..., Any],
) -> None:
    (one, asked), (two, _), (three, _) = ranks(3)

    def leave() -> None:
        with one:
            one.gather("here")

    first, second = Waiting(leave), Waiting(lambda: two.gather("here"))
    assert first.goes_on()
    assert second.goes_on()
    asked(12, None)
    assert first.ended() == second.ended() == "StopRequested"
    assert Waiting(three.check_stop).ended() == "StopRequested"


def test_any_error_of_one_rank_ends_the_others(ranks: Callable[..., Any]) -> None:
    (one, _), (two, _) = ranks(2)
    with pytest.raises(ValueError, match="a bug"), one:
        raise ValueError("a bug")
    assert Waiting(two.check_stop).ended() == "StopRequested"


def test_who_came_as_the_last_goes_on_although_it_was_asked_to_stop(
    ranks: Callable[..., Any],
) -> None:
    """What follows is the end of the work, which takes less time than to start again."""
    ((one, asked),) = ranks(1)
    asked(12, None)
    one.gather("answered")
    (two, _), (three, asked) = ranks(2)
    waiting = Waiting(lambda: two.gather("answered"))
    asked(12, None)
    three.gather("answered")
    assert waiting.ended() == "NoneType"


def test_the_others_follow_the_first_rank_or_see_it_go(ranks: Callable[..., Any]) -> None:
    (one, _), (two, asked) = ranks(2)
    asked(12, None)
    waiting = Waiting(lambda: two.follow("finished"))
    assert waiting.goes_on(), "the first rank is about to end it"
    one.follow("finished")
    assert waiting.ended() == "NoneType"
    waiting = Waiting(lambda: two.follow("and again"))
    assert waiting.goes_on()
    with pytest.raises(ValueError), one:
        raise ValueError
    assert waiting.ended() == "NoneType"


def test_the_first_rank_stays_until_the_others_know_that_it_finished(
    ranks: Callable[..., Any],
) -> None:
    """The store may be its own: a rank that still asks whether all answered must not find it gone.

    Such a rank took a finished table for one that a signal had stopped, and ended with 75.
    """
    (one, _), (two, _) = ranks(2)
    waiting = Waiting(lambda: one.follow("finished"))
    assert waiting.goes_on()
    two.follow("finished")
    assert waiting.ended() == "NoneType"
    (one, _), (two, _) = ranks(2, "another")
    waiting = Waiting(lambda: one.follow("finished"))
    assert waiting.goes_on()
    with pytest.raises(ValueError), two:
        raise ValueError
    assert waiting.ended() == "NoneType", "nobody is left to hear it"


def test_each_rank_hears_what_every_rank_says(ranks: Callable[..., Any]) -> None:
    (one, _), (two, asked) = ranks(2)
    heard: list[list[str]] = []
    waiting = Waiting(lambda: heard.append(one.exchange("numbers", "float32")))
    assert waiting.goes_on()
    assert two.exchange("numbers", "bfloat16") == ["float32", "bfloat16"]
    assert waiting.ended() == "NoneType"
    assert heard == [["float32", "bfloat16"]]
    waiting = Waiting(lambda: two.exchange("again", "x"))
    assert waiting.goes_on()
    asked(12, None)
    assert waiting.ended() == "StopRequested"


def refuse() -> None:
    raise InUseError("run is in use")


def test_where_the_first_rank_is_refused_all_are_in_its_words(ranks: Callable[..., Any]) -> None:
    (one, _), (two, _), (three, _) = ranks(3)
    others = [Waiting(partial(r.as_the_first, "leased", refuse)) for r in (two, three)]
    assert all(waiting.goes_on() for waiting in others)
    with pytest.raises(InUseError, match="run is in use"):
        one.as_the_first("leased", refuse)
    assert [waiting.ended() for waiting in others] == ["PreflightError"] * 2
    assert {str(waiting.error) for waiting in others} == {"run is in use"}


def test_where_the_first_rank_may_go_on_so_do_all_and_where_it_is_gone_none(
    ranks: Callable[..., Any],
) -> None:
    (one, _), (two, _) = ranks(2)
    done: list[str] = []
    waiting = Waiting(lambda: two.as_the_first("leased", refuse))
    one.as_the_first("leased", lambda: done.append("one"))
    assert waiting.ended() == "NoneType"
    assert done == ["one"]
    waiting = Waiting(lambda: two.as_the_first("claimed", refuse))
    assert waiting.goes_on()
    with pytest.raises(ValueError), one:
        raise ValueError
    assert waiting.ended() == "StopRequested"


def test_who_lost_the_folder_says_by_whom(ranks: Callable[..., Any]) -> None:
    ((one, request),) = ranks(1)
    request.lose("run was taken over")
    with pytest.raises(TakenOver, match="run was taken over"):
        one.check_stop()


def test_two_evaluations_of_one_launch_do_not_hear_each_other(ranks: Callable[..., Any]) -> None:
    (one, _), _ = ranks(2, "base")
    (two, _), _ = ranks(2, "adapter")
    with pytest.raises(ValueError), one:
        raise ValueError
    two.check_stop()
