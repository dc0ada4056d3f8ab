"""Where worker, API and functions find AWS when `mailsluice up` runs the simulator."""

import os

from config.settings import Settings
from config.settings_source import load_settings
from mailsluice.children import UpOptions, children_of
from mailsluice.upstream import api_environ, simulator_environ

PASSED = "SLUICE_FUNCTIONS_PASS_ENVIRONMENT"
TRUST = "SLUICE_API_TRUST_LOOPBACK"


def test_worker_and_api_find_the_simulated_s3_and_functions_see_the_dummy_keys():
    settings = Settings.model_validate({"simulator": {"host": "0.0.0.0", "port": 4000}})
    for environ in (simulator_environ(settings, {}), api_environ(settings, {})):
        assert environ["AWS_ENDPOINT_URL_S3"] == "http://127.0.0.1:4000/s3"
        assert environ["AWS_ACCESS_KEY_ID"] == "simulator"
        assert environ["AWS_REGION"] == "us-east-1"
        passed = environ[PASSED].split(",")
        assert {"PATH", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= set(passed)


def test_a_name_would_make_clients_put_the_bucket_in_front_of_it():
    settings = Settings.model_validate({"simulator": {"host": "localhost"}})
    assert simulator_environ(settings, {})["AWS_ENDPOINT_URL_S3"] == "http://127.0.0.1:2581/s3"


def test_a_region_of_ones_own_stays():
    assert simulator_environ(Settings(), {"AWS_REGION": "eu-west-1"})["AWS_REGION"] == "eu-west-1"


def test_an_s3_of_ones_own_is_used_with_ones_own_keys():
    own = {"AWS_ENDPOINT_URL_S3": "http://minio:9000", "AWS_ACCESS_KEY_ID": "minio", "AWS_SECRET_ACCESS_KEY": "secret"}
    environ = simulator_environ(Settings(), own)
    assert {name: environ[name] for name in own} == own
    assert environ["AWS_ENDPOINT_URL_SES"] == "http://127.0.0.1:2581"
    assert "AWS_ACCESS_KEY_ID" in environ[PASSED]


def test_an_s3_of_ones_own_without_keys_gets_dummies_unless_a_profile_has_them():
    endpoint = {"AWS_ENDPOINT_URL_S3": "http://minio:9000"}
    assert simulator_environ(Settings(), endpoint)["AWS_ACCESS_KEY_ID"] == "simulator"
    assert "AWS_ACCESS_KEY_ID" not in simulator_environ(Settings(), {**endpoint, "AWS_PROFILE": "minio"})


def test_temporary_keys_of_ones_own_reach_functions_whole():
    own = {"AWS_ENDPOINT_URL_S3": "http://minio:9000", "AWS_ACCESS_KEY_ID": "ASIA", "AWS_SESSION_TOKEN": "token"}
    environ = simulator_environ(Settings(), own)
    assert environ["AWS_SESSION_TOKEN"] == "token"
    assert "AWS_SESSION_TOKEN" in environ[PASSED].split(",")
    beside_the_simulators = simulator_environ(Settings(), {"AWS_SESSION_TOKEN": "token"})
    assert "AWS_SESSION_TOKEN" not in beside_the_simulators


def test_contents_in_a_bucket_leave_s3_alone_and_keep_the_keys_from_functions():
    settings = Settings.model_validate({"spool": {"content_store": "s3://bucket/prefix"}})
    environ = simulator_environ(settings, {"AWS_ACCESS_KEY_ID": "real"})
    assert environ["AWS_ACCESS_KEY_ID"] == "real"
    assert not {"AWS_ENDPOINT_URL_S3", PASSED} & environ.keys()


def test_clients_on_this_machine_are_trusted_unless_the_operator_said_something():
    assert api_environ(Settings(), {})[TRUST] == "true"
    chosen = load_settings(environ={TRUST: "false"})
    assert api_environ(chosen, {TRUST: "false"})[TRUST] == "false"
    assert TRUST not in simulator_environ(Settings(), {})


def test_what_functions_see_is_added_to_what_the_settings_say_but_not_to_the_variable():
    settings = Settings.model_validate({"functions": {"pass_environment": ["MINE"]}})
    assert simulator_environ(settings, {})[PASSED].startswith("MINE,AWS_ACCESS_KEY_ID")
    assert simulator_environ(settings, {PASSED: "MINE"})[PASSED] == "MINE"


def test_with_the_real_aws_nothing_of_that_is_set():
    children = children_of(Settings(), UpOptions(has_simulator=False), {"PATH": os.defpath}, None)
    assert {child.name for child in children} >= {"api", "worker"}
    assert all(child.environ.keys() <= {"PATH", "SLUICE_SMTP_PROCESSES"} for child in children)


def test_every_variable_that_is_set_is_one_that_the_settings_know():
    environ = {name: value for name, value in api_environ(Settings(), {}).items() if name.startswith("SLUICE_")}
    settings = load_settings(environ=environ)
    assert settings.api.trust_loopback
    assert "NO_PROXY" in settings.functions.pass_environment
