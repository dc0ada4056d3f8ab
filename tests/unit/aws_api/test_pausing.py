import pytest

from aws_api.admin.pausing import Scope, check_names, keys_of
from config.errors import Refused
from config.settings import Settings


@pytest.mark.parametrize("name", ["lane", "user", "domain", "route"])
def test_a_name_that_is_given_but_empty_is_not_everything(name: str):
    with pytest.raises(Refused, match=f"{name}: must not be empty"):
        keys_of(Scope(**{name: ""}))
    assert keys_of(Scope()) == ("all",)


def test_an_address_stands_for_the_user_of_that_name_and_for_the_sender_without_a_user():
    assert keys_of(Scope(user="App+x@Example.com")) == ("user:App+x@Example.com", "user:app@example.com")
    assert keys_of(Scope(user="app@example.com")) == ("user:app@example.com",)
    assert keys_of(Scope(user="Shop+1")) == ("user:Shop+1",)


def test_only_names_of_the_settings_are_known():
    check_names("bulk", "default", Settings())
    with pytest.raises(Refused, match="lane: there is no lane of this name; there are: express, bulk"):
        check_names("nosuch", None, Settings())
    with pytest.raises(Refused, match="route: there is no route of this name; there are: default"):
        check_names(None, "nosuch", Settings())
