from mailsluice.environment import environment_text
from spool.environment import Environment


def test_the_line_names_the_installation_and_the_id() -> None:
    assert environment_text(None).startswith("The spool belongs to nobody yet")
    found = Environment("production", "an-id", 1)
    assert environment_text(found) == "The spool belongs to the environment production; its id is an-id."
    assert environment_text(Environment("", "an-id", 1)) == "The spool belongs to no environment; its id is an-id."


def test_after_a_change_the_line_says_what_it_was() -> None:
    found, before = Environment("production", "an-id", 1), Environment("", "an-id", 1)
    assert "the environment production (it was no environment)" in environment_text(found, before)
    assert "(it was" not in environment_text(found, found)
