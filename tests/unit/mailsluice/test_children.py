import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from config.settings import Settings
from mailsluice.child import Child
from mailsluice.children import UpOptions, children_of, embedded_store, gateways
from mailsluice.embedded_redis import log_file
from mailsluice.up import addresses_of, doors_of
from mailsluice.upstream import address, simulator_environ

ENVIRON = {"PATH": "/bin", "AWS_PROFILE": "production", "AWS_ACCESS_KEY_ID": "real", "NO_PROXY": "example.com"}


def table(options: UpOptions | None = None, **settings: dict[str, Any]) -> dict[str, Child]:
    read = Settings.model_validate(settings)
    store = None if read.redis.url else embedded_store(read, ("server",), ENVIRON, lock=7)
    return {child.name: child for child in children_of(read, options or UpOptions(), ENVIRON, store)}


def test_everything_is_started_by_default() -> None:
    assert list(table()) == ["redis", "gateway", "api", "simulator", "worker", "feedback", "flower"]


def test_what_needs_the_store_waits_for_it() -> None:
    children = table()
    assert {name for name, child in children.items() if child.needs == ("redis",)} == {
        *("gateway", "api", "worker", "feedback", "flower")
    }
    assert all(child.needs == () for child in table(redis={"url": "redis://elsewhere"}).values())


def test_doors_stop_first_and_the_store_last() -> None:
    waves = {name: child.stop_wave for name, child in table().items()}
    assert sorted(waves, key=waves.__getitem__) == [
        *("gateway", "api", "worker", "feedback", "flower", "simulator", "redis")
    ]
    assert waves["gateway"] == waves["api"]


def test_a_child_gets_more_time_to_stop_than_it_takes() -> None:
    children = table(smtp={"shutdown_grace_seconds": 100}, worker={"shutdown_grace_seconds": 200})
    assert children["gateway"].stop_seconds > 100
    assert children["worker"].stop_seconds > 200


def test_the_number_of_processes_is_a_setting_and_workers_an_option() -> None:
    children = table(UpOptions(workers=3), smtp={"processes": 2}, worker={"processes": 5})
    assert [name for name in children if re.search(r"-\d", name)] == [
        *("gateway-1", "gateway-2", "worker-1", "worker-2", "worker-3")
    ]
    assert "worker-5" in table(worker={"processes": 5})


def test_a_gateway_of_several_is_of_the_single_form() -> None:
    children = gateways(Settings.model_validate({"smtp": {"processes": 3}}), ENVIRON)
    assert len(children) == 3
    assert {child.environ["SLUICE_SMTP_PROCESSES"] for child in children} == {"1"}


def test_with_aws_there_is_no_simulator_and_the_environment_is_unchanged() -> None:
    children = table(UpOptions(has_simulator=False))
    assert not {"simulator", "feedback"} & children.keys()
    assert children["worker"].environ == ENVIRON


def test_with_the_simulator_its_events_settle_what_is_in_doubt() -> None:
    children = table(simulator={"host": "0.0.0.0", "port": 4000})
    for name in ("worker", "feedback", "api"):
        environ = children[name].environ
        assert environ["SLUICE_FEEDBACK_QUEUE_URL"] == "http://127.0.0.1:4000/sqs/123456789012/ses-events"
        assert environ["AWS_ENDPOINT_URL_SQS"] == environ["AWS_ENDPOINT_URL_SNS"] == "http://127.0.0.1:4000"
        assert "AWS_PROFILE" not in environ


def test_a_queue_or_a_feed_that_the_operator_names_stays() -> None:
    for named in ({"queue_url": "https://sqs.example/1/q"}, {"simulator_url": "http://elsewhere:2581"}):
        assert "SLUICE_FEEDBACK_QUEUE_URL" not in table(feedback=named)["feedback"].environ


def test_a_feed_that_the_operator_names_is_read_without_our_simulator_too() -> None:
    children = table(UpOptions(has_simulator=False), feedback={"simulator_url": "http://elsewhere:2581"})
    assert "feedback" in children
    assert "SLUICE_FEEDBACK_QUEUE_URL" not in children["worker"].environ  # it has the same settings


def test_the_store_is_asked_whose_it_is_before_anything_uses_it() -> None:
    children = table()
    assert [name for name, child in children.items() if child.check] == ["redis"]


def test_only_the_worker_is_led_to_the_simulator() -> None:
    children = table(simulator={"host": "0.0.0.0", "port": 4000})
    assert children["worker"].environ["AWS_ENDPOINT_URL_SES"] == "http://127.0.0.1:4000"
    assert children["gateway"].environ["AWS_PROFILE"] == "production"


def test_the_simulator_hides_every_real_account() -> None:
    environ = simulator_environ(Settings(), {**ENVIRON, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"})
    assert environ["AWS_ENDPOINT_URL_SESV2"] == "http://127.0.0.1:2581"
    assert environ["AWS_ACCESS_KEY_ID"] == "simulator"
    assert environ["AWS_EC2_METADATA_DISABLED"] == "true"
    assert environ["NO_PROXY"] == "example.com,127.0.0.1"
    assert not {"AWS_PROFILE", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"} & environ.keys()


def test_a_bucket_for_content_keeps_its_credentials_beside_the_simulator() -> None:
    settings = Settings.model_validate({"spool": {"content_store": "s3://bucket/prefix"}})
    environ = simulator_environ(settings, ENVIRON)
    assert environ["AWS_ENDPOINT_URL_SES"] == "http://127.0.0.1:2581"
    assert environ["AWS_PROFILE"] == "production"


def test_a_probe_says_no_while_nobody_listens() -> None:
    async def ask() -> list[bool]:
        children = table(simulator={"port": 1}, flower={"port": 1}, data={"dir": "/nowhere"})
        return [await child.probe() for child in children.values() if child.probe]

    assert asyncio.run(ask()) == [False, False, False]


def test_every_port_is_checked() -> None:
    pair = {"tls_certificate_file": "c.pem", "tls_key_file": "k.pem"}
    settings = Settings.model_validate({"smtp": {"tls_port": 2465, **pair}, "api": {"host": "::"}})
    assert [(door.section, door.port) for door in doors_of(settings, UpOptions())] == [
        *(("smtp", 2525), ("smtp", 2465), ("api", 2580), ("simulator", 2581), ("flower", 5555))
    ]
    assert addresses_of(settings, UpOptions(has_simulator=False)) == {
        "smtp": "127.0.0.1:2525",
        "smtp_tls": "127.0.0.1:2465",
        "api": "[::1]:2580",
        "flower": "127.0.0.1:5555",
    }


@pytest.mark.parametrize(
    ("host", "shown"), [("0.0.0.0", "127.0.0.1:25"), ("::", "[::1]:25"), ("mail.example.com", "mail.example.com:25")]
)
def test_an_address_to_listen_on_becomes_one_to_connect_to(host: str, shown: str) -> None:
    assert address(host, 25) == shown


def test_the_store_explains_itself_by_its_log_and_by_the_disk(tmp_path: Path) -> None:
    full = table(data={"dir": tmp_path}, redis={"min_free_disk_bytes": 10**19})["redis"]
    assert full.log_file == log_file(Settings.model_validate({"data": {"dir": tmp_path}}))
    assert full.suspect is not None
    assert full.suspect().endswith("make room in the data dir.")
    roomy = table(data={"dir": tmp_path}, redis={"min_free_disk_bytes": 0})["redis"]
    assert roomy.suspect is not None
    assert roomy.suspect() == ""
