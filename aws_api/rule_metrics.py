"""The rules as Prometheus metrics: what the workers judge by, and whether that is what their files say. Pure."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from aws_api.admin.rule_words import versions
from spool.figures import Figures


def rule_metrics(figures: Figures) -> Iterator[Metric]:
    """Workers by the version of their rules, and those whose file cannot be used now."""
    info = GaugeMetricFamily(
        "mailsluice_rules_info",
        "Workers that judge by this version of the rules; empty = no rules.",
        labels=["version"],
    )
    for version, workers in versions(figures).items():
        info.add_metric([version], len(workers))
    yield info
    yield GaugeMetricFamily(
        "mailsluice_rules_trouble",
        "Workers whose file of rules cannot be used; they go on with the rules that they had.",
        value=sum(bool(worker.rules_trouble) for worker in figures.workers),
    )
