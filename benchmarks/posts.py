"""The posts that are worked on: mild invented ones of even length, or real ones of the reader's."""

from itertools import product
from pathlib import Path

from hsd.data.data_sets import resolve
from hsd.data.sampling import stratified
from hsd.example import Example

# Who, what, where and an end, for each label; mild, and of about the same number of tokens.
NORMAL = (
    ("My neighbour", "The baker", "Our teacher", "A driver", "The gardener", "My cousin"),
    ("waited an hour for the bus", "bought too many apples", "forgot the keys at work",
     "sang on the balcony again", "painted the old fence"),
    ("in the rain", "near the market", "behind the school", "by the river", "at the station"),
    ("and nobody minded at all.", "and we laughed about it later.", "but the day was fine.",
     "so dinner came late tonight."),
)  # fmt: skip
HATE = (
    ("Foreigners", "Migrants", "Old people", "Disabled people", "Those villagers", "Newcomers"),
    ("are all liars and thieves", "only cause us trouble", "should never get any work",
     "do not belong with us", "ruin every decent street"),
    ("in this town", "near our market", "at our school", "by our river", "in this country"),
    ("so they should leave at once.", "and should stay at home.", "keep them all out of here.",
     "nobody wants them around us."),
)  # fmt: skip

RULES = (
    "Read the whole post before you decide, from its first word to its last.",
    "A complaint about the weather, a train or a price is normal.",
    "Strong words about a film, a team or a meal are normal.",
    "A question about a custom or a holiday is normal.",
    "A quotation that the writer turns down is normal.",
    "Naming a country, a language or a belief is not an attack on anyone.",
    "A wish that other people lose their rights is hate.",
    "A claim that some people are worth less than others is hate.",
    "Jokes count by what they say about people, not by how funny they are.",
    "When a post says several things, the worst of them decides.",
    "Spelling, length and punctuation say nothing about the label.",
    "Do not guess who wrote the post, and do not reward good manners.",
)


def synthetic(count: int) -> list[Example]:
    """Return invented posts of even length, all different, half of them with each label."""
    step = 37  # no divisor of their number, so neighbours differ in every part
    ways = [[" ".join(parts) for parts in product(*words)] for words in (NORMAL, HATE)]
    texts = [ways[n % 2][n // 2 * step % len(ways[0])] for n in range(count)]
    return [
        Example(id=f"s{n:04}", text=text, label="hate" if n % 2 else "normal")
        for n, text in enumerate(texts)
    ]


def real(count: int, data: Path | None) -> list[Example]:
    """Return posts of the unified test split, kept in memory only.

    Raises DataError where there is none.
    """
    return stratified(resolve("unified", data), count, seed=7)


def guidelines(rules: int) -> str:
    """Return so many numbered sentences of instructions."""
    return "\n".join(f"{n + 1}. {RULES[n % len(RULES)]}" for n in range(rules))
