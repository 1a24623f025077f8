"""What asking a server costs, and where a run stops so that it costs no more."""

import io
from pathlib import Path
from typing import Any

import chat_service
import pytest
from chat_service import Asked, config, posts, served
from click.testing import CliRunner
from completions import completion

from hsd.config.server_config import ServerConfig
from hsd.errors import ConfigError, Stopped
from hsd.inference.chat_answer import ChatReply
from hsd.inference.server_use import ServerUse, cost_of
from hsd.io.json_reader import read_json
from hsd.io.manifest import manifest_of
from hsd.io.shard import Shard
from hsd.predict.predict_file import predict_file
from hsd.predict.predict_job import PredictJob
from hsd.predict.predict_pipe import predict_pipe
from jobs.cli import hsd
from jobs.terminal.server_lines import server_lines

asked = chat_service.asked
PRICES: dict[str, Any] = {"prompt_price": 2.0, "reply_price": 10.0, "concurrency": 1}
ONE_REPLY = (30 * 2 + 5 * 10) / 1_000_000
"""Cost of an answer of `completion`."""


def use(**prices: float) -> ServerUse:
    return ServerUse(ServerConfig(prompt_price=2.0, reply_price=10.0, **prices))


def reply(prompt: int, written: int, cached: int = 0) -> ChatReply:
    return ChatReply("", False, 0.0, prompt, written, cached_tokens=cached)


def test_prompt_and_reply_tokens_have_prices_per_million() -> None:
    assert cost_of({"prompt_tokens": 500_000, "reply_tokens": 100_000}, use().config) == 2.0


def test_cached_prompt_tokens_have_a_price_of_their_own() -> None:
    counts = {"prompt_tokens": 1_000_000, "cached_tokens": 500_000}
    assert cost_of(counts, use().config) == 2.0
    assert cost_of(counts, use(cached_price=1.0).config) == 1.5


def test_without_prices_there_is_no_cost() -> None:
    assert cost_of({"prompt_tokens": 5}, ServerConfig()) is None
    assert "cost" not in ServerUse(ServerConfig()).counts()


def test_what_is_on_its_way_counts_as_much_as_it_may_cost() -> None:
    spending = use(max_cost=1.0)
    assert spending.reserve(0.6)
    assert not spending.reserve(0.6)
    spending.count(reply(100_000, 0), 0.6)
    assert spending.reserve(0.6)


def test_a_reply_whose_tokens_nobody_counted_may_have_cost_all_of_it() -> None:
    spending = use(max_cost=1.0)
    assert spending.reserve(0.6)
    spending.count(reply(0, 0), 0.6)
    assert not spending.reserve(0.6)
    assert spending.counts()["uncounted"] == 1


def test_what_earlier_starts_cost_counts() -> None:
    spending = use(max_cost=1.0)
    spending.before = {"prompt_tokens": 400_000}
    assert not spending.reserve(0.3)
    assert spending.is_spent


def test_a_token_is_never_shorter_than_a_byte() -> None:
    assert use().most("é" * 500_000, 100_000) > 2.0 + 1.0


def test_the_manifest_says_the_cost_of_all_starts(asked: Asked) -> None:
    asked.script = [chat_service.honest, (400, {}, {})]
    with pytest.raises(Exception, match="refuses the request"):
        served(asked, server=PRICES)
    folder = served(asked, server=PRICES)
    assert manifest_of(folder)["answering"]["cost"] == pytest.approx(6 * ONE_REPLY)


def test_cached_tokens_are_counted_where_a_server_tells_of_them(asked: Asked) -> None:
    answer = completion('{"classification": "hate"}')
    answer["usage"]["prompt_tokens_details"] = {"cached_tokens": 20}
    asked.script = [(200, {}, answer)]
    folder = served(asked, server=PRICES | {"cached_price": 0.0})
    counted = manifest_of(folder)["answering"]
    assert counted["cached_tokens"] == 20
    assert counted["cost"] == pytest.approx(6 * ONE_REPLY - 20 * 2 / 1_000_000)


def dearest(asked: Asked) -> float:
    """Return a budget that two posts fit in, and three surely do not."""
    from hsd.evaluation.served_plan import plan_served
    from hsd.prompts.chat import chat_messages

    plan = plan_served(config(asked, server=PRICES))
    first = chat_messages(plan.contract.strategy, plan.examples[0].text)
    words = "".join(message["content"] for message in first)
    return use().most(words, plan.reply_length) + 1.5 * ONE_REPLY


def test_a_run_ends_before_it_costs_more_and_goes_on_with_more_money(asked: Asked) -> None:
    limit = dearest(asked)
    with pytest.raises(Stopped) as stopped:
        served(asked, server=PRICES | {"max_cost": limit})
    assert str(stopped.value) == (
        "answered 2 of 6 rows: the next post could make the run cost more than --max-cost "
        f"{limit:g}. Run the same command with a larger --max-cost to go on."
    )
    assert len(asked.requests) == 2
    with pytest.raises(Stopped, match="answered 2 of 6 rows"):
        served(asked, server=PRICES | {"max_cost": limit})
    served(asked, server=PRICES | {"max_cost": 1.0})
    assert len(asked.requests) == 6


def test_a_table_ends_before_it_costs_more_and_goes_on_with_more_money(asked: Asked) -> None:
    def table(limit: float) -> None:
        wanted = config(asked, server=PRICES | {"max_cost": limit})
        predict_file(PredictJob(config=wanted, output="labels.csv"))

    limit = dearest(asked)
    with pytest.raises(Stopped, match=r"answered 2 of 6 posts: the next post could make the run"):
        table(limit)
    table(1.0)
    assert len(asked.requests) == 6
    answering = read_json(Path("labels.csv.run/manifest.json"))["answering"]
    assert answering["cost"] == pytest.approx(6 * ONE_REPLY)


def test_another_number_of_shards_has_the_same_money_and_counts_each_post_once(
    asked: Asked,
) -> None:
    wanted = config(asked, server=PRICES | {"max_cost": dearest(asked)})
    for shard in (Shard(), Shard(0, 2), Shard(0, 3)):
        with pytest.raises(Stopped, match="answered 2 of 6 posts"):
            predict_file(PredictJob(config=wanted, output="labels.csv", shard=shard))
    assert len(asked.requests) == 2


def test_replies_that_nobody_counted_are_held_against_the_money_of_later_starts(
    asked: Asked,
) -> None:
    uncounted = completion('{"classification": "hate"}') | {"usage": None}
    asked.answer = lambda _: (200, {}, uncounted)
    for _ in range(2):
        with pytest.raises(Stopped, match="answered 1 of 6 rows"):
            served(asked, server=PRICES | {"max_cost": dearest(asked)})
    assert len(asked.requests) == 1


def test_a_limit_is_refused_where_the_server_takes_no_max_tokens(asked: Asked) -> None:
    said = "Unsupported parameter: 'max_tokens' is not supported with this model."
    asked.answer = lambda _: (400, {}, {"error": {"message": said, "param": "max_tokens"}})
    with pytest.raises(ConfigError, match="does not take max_tokens, so the next reply could"):
        served(asked, server=PRICES | {"max_cost": 1.0})
    assert len(asked.requests) == 1


def test_a_pipe_ends_before_it_costs_more(asked: Asked) -> None:
    wanted = config(asked, server=PRICES | {"max_cost": 1e-6})
    job = PredictJob(config=wanted, output="-")
    with pytest.raises(Stopped, match="could make the run cost more than --max-cost 1e-06"):
        predict_pipe(job, [], io.StringIO())
    assert asked.requests == []


@pytest.mark.parametrize(
    ("counts", "lines"),
    [
        ({"shared": True}, []),
        ({"requests": 1, "prompt_tokens": 30, "reply_tokens": 1, "seconds": 0.0},
         ["Server: 1 request, 30 prompt tokens and 1 reply token."]),
        ({"requests": 2000, "repeated": 3, "prompt_tokens": 60000, "reply_tokens": 20000,
          "seconds": 100.0, "cost": 0.32, "uncounted": 1},
         ["Server: 2,000 requests (3 repeated), 60,000 prompt tokens and 20,000 reply tokens in "
          "100.0 s (20.0 requests/s, 800 tokens/s).",
          "Cost: 0.32, by server.prompt_price and server.reply_price.",
          "The server did not count the tokens of 1 reply; hsd counts them as none."]),
    ],
)  # fmt: skip
def test_a_run_says_at_its_end_what_it_asked(counts: dict[str, Any], lines: list[str]) -> None:
    assert server_lines(counts) == lines


@pytest.mark.parametrize(
    "command",
    [
        ["predict", "posts.jsonl", "--output", "labels.csv"],
        ["predict", "posts.jsonl", "--output", "-"],
        ["evaluate", "--data-file", "posts.jsonl", "--output-dir", "runs/served"],
    ],
)
def test_the_commands_say_what_they_asked_and_what_it_cost(
    asked: Asked, command: list[str]
) -> None:
    posts()
    flags = ["--engine", "openai", "--base-url", asked.url, "--model-name", "served"]
    prices = ["--set", "server.prompt_price=2", "--set", "server.reply_price=10"]
    said = CliRunner().invoke(hsd, [*command, *flags, *prices])
    assert said.exit_code == 0, said.output
    shown = said.stderr if "-" in command else said.stdout
    assert "Server: 6 requests, 180 prompt tokens and 30 reply tokens" in shown
    assert f"Cost: {6 * ONE_REPLY:.6g}, by server.prompt_price" in shown
