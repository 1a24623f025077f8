"""How many tokens a row may have, and whose limit that is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenLimit:
    """The lesser of what an option asks for and of what the model's positions leave."""

    asked: int
    option: str = "max_length"
    """The option's name, for messages."""
    positions: int | None = None
    """Of the model; None where they are not known."""
    reply: int = 0
    """Positions that are kept for a reply."""

    @property
    def held(self) -> int | None:
        """The most tokens that the model holds, whatever is asked for."""
        return None if self.positions is None else self.positions - self.reply

    @property
    def tokens(self) -> int:
        """The most tokens that a row may have."""
        return self.asked if self.held is None else min(self.asked, self.held)

    @property
    def words(self) -> str:
        """Whose limit it is: `max_length 60`, or `the model's 1024 positions`."""
        return self._of_model if self.held == self.tokens else f"{self.option} {self.asked}"

    def remedy(self, needed: int) -> str:
        """Return what makes room for a row of so many tokens: no option beats the positions."""
        if self.held is None or needed <= self.held:
            return f"raise {self.option} to {needed} or more"
        return (
            f"{self.option} cannot raise the model's {self.positions} positions, so take a base "
            "with more"
        )

    @property
    def _of_model(self) -> str:
        kept = f" less {self.reply} for the reply" if self.reply else ""
        return f"the model's {self.positions} positions{kept}"
