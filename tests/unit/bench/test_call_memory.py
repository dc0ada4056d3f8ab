import pytest

from bench.call_memory import environment_for, table


def test_nothing_of_the_aws_environment_reaches_a_measured_call(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere.example")
    environ = environment_for(1234)
    assert "AWS_PROFILE" not in environ
    assert {url for name, url in environ.items() if "ENDPOINT" in name} == {"http://127.0.0.1:1234"}


@pytest.mark.processes
def test_a_megabyte_under_way_holds_its_message_and_one_encoded_copy():
    *_, row = table([4]).splitlines()
    _, _, path, held, peak, _ = (cell.strip() for cell in row.split("|"))
    assert path == "v1"
    assert 2 < float(held.removesuffix(" MB/MB")) < 4
    assert float(held.removesuffix(" MB/MB")) < float(peak.removesuffix(" MB/MB")) < 8
