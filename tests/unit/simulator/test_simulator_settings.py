"""The settings: what may be changed, and that those of the installation fit."""

from dataclasses import fields

from config.settings import SimulatorSettings as ConfiguredSettings
from simulator.settings import CHANGEABLE, SimulatorSettings, changeable, changed


def test_the_settings_of_the_installation_fit():
    configured = ConfiguredSettings(sandbox=True, verified_identities="ann@example.com, example.org")
    settings = SimulatorSettings(**configured.model_dump())
    assert list(settings.verified_identities) == ["ann@example.com", "example.org"]
    assert (settings.sending_rate, settings.daily_quota) == (1, 200)


def test_what_is_told_is_allowed():
    settings = SimulatorSettings()
    assert changed(settings, changeable(settings) | {"sandbox": True}).sandbox
    for name, (is_allowed, _) in CHANGEABLE.items():
        assert is_allowed(changeable(settings)[name]), name


def test_every_setting_is_changeable_or_belongs_to_the_process():
    of_the_process = {"host", "port", "data_dir", "max_request_bytes"}
    kept = {"kept_message_bytes", "kept_ledger_lines", "kept_event_bytes"}
    assert {field.name for field in fields(SimulatorSettings)} == set(CHANGEABLE) | of_the_process | kept
