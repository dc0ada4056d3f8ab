"""Names of the Celery queues. Every one has a consumer in docker-compose.yml; a house test checks it."""

PROCESS_QUEUE = "process"  # nudges with message ids
EVENTS_QUEUE = "events"  # nudges to publish what waits for a destination
ALL_QUEUES = (PROCESS_QUEUE, EVENTS_QUEUE)

# One hash tag for every key, ours and Celery's: a single-shard cluster-mode server sees one slot.
KEY_PREFIX = "{ms}:"
