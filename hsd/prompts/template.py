"""Template files: the words of a prompt, and the strategies that ask with them."""

from importlib.resources import files
from pathlib import Path
from string import Formatter

from pydantic import ConfigDict, Field, PositiveInt, ValidationError, field_validator

from hsd.config.strict import Strict
from hsd.errors import ConfigError, did_you_mean
from hsd.io.json_reader import parse_json

SHIPPED = Path(str(files("hsd.prompts"))) / "templates"

IGNORED_PARAMETERS = frozenset(
    {"temperature", "top_p", "frequency_penalty", "presence_penalty", "response_format"}
)
"""Settings of chat APIs in older template files. Sampling is asked for on the command line."""


class Parameters(Strict):
    """What a strategy asks of the answer."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    max_new_tokens: PositiveInt | None = Field(default=None, alias="max_tokens")
    """Longest answer; None takes the evaluation's own limit. Older files call it max_tokens."""
    rationale: bool = False
    """The answer carries a short reason after the classification."""
    reasoning_effort: str | None = None
    """Passed to chat templates that know it (gpt-oss: low, medium, high)."""
    analysis: bool = Field(default=False, exclude_if=lambda asked: not asked)
    """The model reasons in a channel of its own before it answers (gpt-oss). Such replies are
    generated, never scored or trained. Written only where it is set, so that the hash of any other
    prompt is what it was."""


class Strategy(Strict):
    """One way to ask: a system prompt and a user turn that ends with the post."""

    name: str
    """How the strategy is shown to people."""
    description: str = ""
    """When to use it."""
    system_prompt: str = ""
    """The system turn; empty leaves it out."""
    user_template: str
    """A str.format template whose one field is `{text}`."""
    parameters: Parameters = Parameters()
    """What it asks of the answer."""

    @field_validator("user_template")
    @classmethod
    def _one_text_field(cls, value: str) -> str:
        try:
            fields = [part[1:] for part in Formatter().parse(value) if part[1] is not None]
        except ValueError as error:
            raise ValueError(
                f"not a format template ({error}); write literal braces twice"
            ) from None
        if fields != [("text", "", None)]:
            shown = ", ".join("{" + str(name) + "}" for name, *_ in fields) or "none"
            raise ValueError(f"needs the field {{text}} exactly once, and no other; it has {shown}")
        return value

    @field_validator("parameters", mode="before")
    @classmethod
    def _without_api_settings(cls, value: object) -> object:
        if isinstance(value, dict):
            return {k: v for k, v in value.items() if k not in IGNORED_PARAMETERS}
        return value

    @property
    def around_post(self) -> tuple[str, str]:
        """The words of the user turn before the post and after it."""
        before, _, after = self.user_template.format(text="\0").partition("\0")
        return before, after


class Template(Strict):
    """All strategies of one template file."""

    name: str
    """The file's name under `templates/`, or its path."""
    strategies: dict[str, Strategy]
    """Strategies by the name that `--strategy` takes."""

    def strategy(self, name: str | None = None) -> Strategy:
        """Return the named strategy, or the first one. Raises ConfigError with near names."""
        if name is None:
            return next(iter(self.strategies.values()))
        if name not in self.strategies:
            hint = did_you_mean(name, self.strategies)
            raise ConfigError(f"template {self.name}: unknown strategy '{name}'.{hint}")
        return self.strategies[name]


def shipped_templates() -> list[str]:
    """Return the names of the templates that come with hsd, as `--prompt-template` takes them."""
    return sorted(str(p.relative_to(SHIPPED).with_suffix("")) for p in SHIPPED.rglob("*.json"))


def load_template(name_or_path: str) -> Template:
    """Return a shipped template (with or without `.json`) or one from a path.

    Raises ConfigError for an unknown name, broken JSON, an unknown key or no strategies.
    """
    path = _find(name_or_path)
    content = parse_json(path.read_bytes(), str(path), ConfigError)
    if not isinstance(content, dict) or not content.get("strategies"):
        raise ConfigError(f'{path}: expected {{"strategies": {{NAME: {{...}}}}}} with one or more.')
    if unknown := sorted(content.keys() - {"strategies"}):
        raise ConfigError(f"{path}: unknown key '{unknown[0]}'. Known: strategies.")
    try:
        return Template(name=name_or_path.removesuffix(".json"), strategies=content["strategies"])
    except ValidationError as error:
        raise ConfigError(f"{path}: {_problem(error)}") from None


def _problem(error: ValidationError) -> str:
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    if first["type"] != "extra_forbidden":
        return f"{'.'.join(where)}: {first['msg'].removeprefix('Value error, ')}."
    section = Parameters if where[-2] == "parameters" else Strategy
    hint = did_you_mean(where[-1], section.model_fields)
    return f"{'.'.join(where[:-1])}: unknown key '{where[-1]}'.{hint}"


def _find(name_or_path: str) -> Path:
    shipped = SHIPPED / f"{name_or_path.removesuffix('.json')}.json"
    for path in (shipped, Path(name_or_path)):
        if path.is_file():
            return path
    hint = did_you_mean(name_or_path, shipped_templates())
    raise ConfigError(f"prompt template '{name_or_path}': no such template or file.{hint}")
