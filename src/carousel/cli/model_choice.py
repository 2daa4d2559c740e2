"""The flag --model: it chooses the family, and so which other flags there are."""

from carousel.cli.parse import usage_error
from carousel.models.config import ModelConfig, all_settings, foreign_setting, setting_names


def check_flags(arguments: list[str], config: type[ModelConfig], prog: str) -> None:
    """Leave with exit code 2, after one line, where a flag belongs to another family."""
    others = set(all_settings()) - set(setting_names(config))
    for argument in arguments:
        if argument == "--":
            return
        flag = argument.partition("=")[0].replace("_", "-")
        name = flag.removeprefix("--").removeprefix("no-").replace("-", "_")
        if flag.startswith("--") and name in others:
            usage_error(str(foreign_setting(name, config)), prog)
