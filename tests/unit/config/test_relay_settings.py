"""The settings of sending: pairs in variables, routes as tables of the file, lanes, the fence, secrets."""

from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from config.settings import LanesSettings, RouteSettings, Settings
from config.settings_source import SECRETS, WrongSettings, load_settings, sections

TOKEN = "hunter2hunter2hunter2"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def mistakes(text: str = "", **environ: str) -> list[str]:
    file = Path("mail.toml")
    file.write_text(text, "utf-8")
    with pytest.raises(WrongSettings) as caught:
        load_settings(file, environ)
    return caught.value.reason.split("\n  ")[1:]


def loaded(text: str = "", **environ: str) -> Settings:
    file = Path("mail.toml")
    file.write_text(text, "utf-8")
    return load_settings(file, environ)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("shop", "must be pairs, for instance a=b, c=d"),
        ("shop=", "must be pairs"),
        ("=bulk", "must be pairs"),
        ("shop=bulk, news", "must be pairs"),
        ("shop=bulk, shop=express", "must name nothing twice"),
    ],
)
def test_a_table_in_a_variable_is_written_as_pairs(text: str, words: str):
    (line,) = mistakes(SLUICE_LANES_BY_USER=text)
    assert line.startswith(f"SLUICE_LANES_BY_USER: {words}")
    assert line.endswith(f"not {text!r}")


def test_a_value_of_a_pair_may_hold_equals_signs():
    weights = loaded(SLUICE_LANES_BY_USER="a=express", SLUICE_LANES_WEIGHTS="bounces+a@example.com=2").lanes.weights
    assert weights == {"bounces+a@example.com": 2.0}


def test_tables_of_the_file_are_tables():
    settings = loaded('[lanes]\nshares = { now = 100, late = 10 }\ndefault = "now"\n[lanes.by_user]\nshop = "late"\n')
    assert (list(settings.lanes.shares), settings.lanes.by_user) == (["now", "late"], {"shop": "late"})


def test_a_lane_that_nobody_knows_is_a_mistake():
    assert mistakes("[lanes]\ndefault = 'fast'\nby_user = { shop = 'slow' }\n") == [
        "mail.toml: [lanes]: default, by_user: unknown lane fast, slow; shares has express, bulk"
    ]
    (line,) = mistakes(SLUICE_LANES_SHARES="Express=100")
    assert "Express is no name of a lane; allowed: [a-z0-9_-]{1,32}" in line


def test_lanes_are_not_blamed_for_shares_that_are_wrong_by_themselves():
    (line,) = mistakes("[lanes]\nshares = { now = 101 }\ndefault = 'now'\n")
    assert line.startswith("mail.toml: [lanes] shares: ")
    assert line.endswith("less than or equal to 100, not 101")


@pytest.mark.parametrize("key", ["fence_allowed", "from_aliases", "bounce_sender", "fence_redirect_to"])
@pytest.mark.parametrize("wrong", ["a b@example.com", "A <a@example.com>", "a@example.com\r\nBcc: b@example.com", "@"])
def test_what_goes_into_a_header_or_a_pattern_is_one_address(key: str, wrong: str):
    value = f"a@example.com={wrong}" if key == "from_aliases" else wrong
    (line,) = mistakes(**{f"SLUICE_RELAY_{key.upper()}": value})
    assert line.startswith(f"SLUICE_RELAY_{key.upper()}: must be ")


@pytest.mark.parametrize("pattern", ["*", "*@example.com", "@example.com", "ex*mple.com", "*.", "a@*.example.com"])
def test_a_pattern_of_the_fence_is_an_address_a_domain_or_all_below_one(pattern: str):
    (line,) = mistakes(SLUICE_RELAY_FENCE_ALLOWED=f"example.org, {pattern}")
    assert line == f"SLUICE_RELAY_FENCE_ALLOWED: must be user@domain, domain or *.domain, not {pattern!r}"


def test_redirecting_needs_somebody_to_redirect_to():
    assert mistakes(SLUICE_RELAY_FENCE="redirect") == ["[relay] fence = redirect needs fence_redirect_to"]
    assert loaded(SLUICE_RELAY_FENCE="redirect", SLUICE_RELAY_FENCE_REDIRECT_TO="t@example.com").relay.fence


def test_all_contradictions_are_told_at_once():
    assert mistakes("[routes.A]\n", SLUICE_RELAY_FENCE="redirect", SLUICE_SMTP_TLS_PORT="465") == [
        "[routes.A] is no name of a route; allowed: [a-z0-9_-]{1,32}",
        "[relay] fence = redirect needs fence_redirect_to",
        "[smtp] tls_port needs tls_certificate_file and tls_key_file",
    ]


def test_every_mistake_of_every_route_is_told_with_its_table():
    lines = mistakes(
        "[routes.a]\nweight = -1\nregoin = 'x'\naccess_key_id = 'AKIA'\nfrom_domains = ['*']\n"
        "[routes.b]\nrole_arn = 'admin'\nendpoint_url = 'ftp://u:hunter2@h'\n"
        "[routes.c]\nsecret_access_key = 'hunter2'\n[routes]\nd = 5\n"
    )
    text = "\n".join(lines)
    assert len(lines) == 8, text
    for expected in (
        "mail.toml: [routes.a] weight: Input should be greater than or equal to 0, not -1",
        "mail.toml: [routes.a] regoin: no such setting; did you mean region?",
        "mail.toml: [routes.a] from_domains: must be domain or *.domain, not '*'",
        "mail.toml: [routes.a]: access_key_id and secret_access_key must be given together",
        "mail.toml: [routes.b] role_arn: ",
        "mail.toml: [routes.b] endpoint_url: must begin with http:// or https://, not 'ftp://***@h'",
        "mail.toml: [routes.c]: access_key_id and secret_access_key must be given together",
        "mail.toml: [routes.d]: must be a section",
    ):
        assert expected in text, text
    assert "hunter2" not in text


def test_routes_that_are_no_tables_are_a_mistake_and_no_crash():
    (line,) = mistakes("routes = 5\n")
    assert line.startswith("mail.toml: [routes]: ")


def test_a_route_in_a_variable_is_told_where_it_belongs():
    assert mistakes(SLUICE_ROUTES_MAIN_REGION="eu-west-1") == [
        "SLUICE_ROUTES_MAIN_REGION: routes stand in the file only, as [routes.<name>]"
    ]


def test_a_route_takes_over_from_relay_what_it_leaves_open():
    routes = loaded(
        "[relay]\nregion = 'eu-west-1'\nmax_send_rate = 5\nmax_24_hour_send = 1000\nses_configuration_set = 'set'\n"
        "[routes.a]\n[routes.b]\nregion = 'us-east-1'\nmax_send_rate = 7\nmax_24_hour_send = 9\n"
    ).routes_by_name
    assert list(routes) == ["a", "b"]
    values = [
        (one.region, one.max_send_rate, one.max_24_hour_send, one.ses_configuration_set) for one in routes.values()
    ]
    assert values == [("eu-west-1", 5, 1000, "set"), ("us-east-1", 7, 9, "set")]


def test_without_routes_there_is_one_named_default():
    routes = loaded("[relay]\nregion = 'eu-west-1'\n").routes_by_name
    assert {name: route.region for name, route in routes.items()} == {"default": "eu-west-1"}


def test_an_unknown_outcome_is_confirmed_only_where_events_reach_us():
    assert loaded().unknown_policy == "resend"
    assert loaded(SLUICE_FEEDBACK_SIMULATOR_URL="http://127.0.0.1:2581").unknown_policy == "confirm"
    assert loaded(SLUICE_RELAY_UNKNOWN="hold").unknown_policy == "hold"


@pytest.mark.parametrize("token", ["short-and-secret", "hunter2hunter2 hunter2", "hunter2hunter2hunter2\n", "ä" * 20])
def test_an_admin_token_that_cannot_be_used_is_told_without_showing_it(token: str):
    if len(token) == 16:
        assert loaded(SLUICE_API_ADMIN_TOKEN=token).api.admin_token == token
        token = token[:-1]
    (line,) = mistakes(SLUICE_API_ADMIN_TOKEN=token)
    assert line == "SLUICE_API_ADMIN_TOKEN: must have at least 16 printable characters without blanks"


@pytest.mark.parametrize("wrong", ["5", "['hunter2']", "{ hunter2 = 'hunter2' }"])
def test_a_secret_of_the_wrong_kind_is_not_shown(wrong: str):
    lines = mistakes(f"[api]\nadmin_token = {wrong}\n[routes.a]\naccess_key_id = 'A'\nsecret_access_key = {wrong}\n")
    assert len(lines) == 2, lines
    assert "hunter2" not in "".join(lines)


def test_secrets_are_not_shown_when_settings_are_printed():
    settings = loaded(
        f"[api]\nadmin_token = '{TOKEN}'\n[routes.a]\naccess_key_id = 'A'\nsecret_access_key = '{TOKEN}'\n"
    )
    assert TOKEN not in repr(settings) + str(settings) + repr(settings.routes_by_name)


def test_every_setting_that_is_kept_out_of_a_repr_is_kept_out_of_messages_too():
    fields: dict[str, FieldInfo] = dict(RouteSettings.model_fields)
    for model in sections().values():
        fields |= model.model_fields
    assert {name for name, field in fields.items() if not field.repr} <= {*SECRETS, "url"}
    assert all(not fields[name].repr for name in SECRETS)


def test_every_mistake_in_the_lanes_is_told_at_once():
    with pytest.raises(ValueError, match="No is no name of a lane") as error:
        LanesSettings(shares={"No": 100}, default="express", by_user={"shop": "nix"})
    assert "unknown lane express, nix" in str(error.value)
