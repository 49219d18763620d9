"""``latentedit methods`` and ``latentedit help``."""

import json

from latentedit.core.plugins import EDITORS
from tests.commands import Command, Ran


def test_every_method_and_the_settings_of_one_are_listed(ran: Ran) -> None:
    assert list(json.loads(ran("methods", "--json"))["methods"]) == EDITORS.names()
    settings = json.loads(ran("methods", "flowedit", "--json"))["settings"]
    assert settings["target_guidance"]["default"] == 2
    assert "target_guidance" in ran("methods", "flowedit")


def test_help_has_pages_of_commands_and_of_the_options_of_a_model(command: Command, ran: Ran) -> None:
    assert "--dtype" in ran("help", "model")
    assert "--dtype" not in ran("edit", "--help")
    assert ran("help", "direction", "make") == ran("direction", "make", "--help")
    assert command("help", "edti").code == 2
