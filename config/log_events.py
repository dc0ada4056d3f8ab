"""The closed list of log events: every line a process writes by itself has one of these names.

A house test compares the list with the calls in the code and with docs/operations.md.
"""

LOG_EVENTS: dict[str, str] = {
    # doors
    "message.accepted": "a message is safe in the spool",
    "message.refused": "a message or a part of its transaction was refused",
    "message.withdrawn": "a message whose client was told 451 was taken back",
    "gateway.started": "the gateway listens",
    "gateway.draining": "SIGTERM: running transactions are finished",
    "gateway.stopped": "the gateway left",
    "gateway.certificate_loaded": "new connections get this certificate",
    "gateway.certificate_broken": "the certificate on disk cannot be used; the old one stays",
    "gateway.session_failed": "a session ended by a bug; the client got 451",
    "api.started": "the HTTP door listens",
    "api.stopped": "the HTTP door left",
    # spool
    "spool.safe": "the store keeps what it answers for",
    "spool.unsafe": "the store is not safe: mail is refused with 4xx",
    "spool.full": "memory or disk is above the high-water mark: new mail gets 452",
    "spool.unavailable": "the store did not answer",
    "spool.orphans_removed": "contents without a message were removed",
    "nudge.failed": "a nudge was not pushed; the sweeper makes up for it",
    # worker
    "worker.started": "the worker takes messages",
    "worker.stopping": "no more messages are claimed",
    "worker.stopped": "the worker left",
    "worker.stalled": "work is due and nothing was claimed: the worker exits to be started anew",
    "worker.loop_blocked": "the event loop did not answer in time",
    "worker.loop_hook_failed": "a start or stop hook of the worker's loop failed",
    "worker.task_abandoned": "a task went over its hard time limit",
    "sweep.failed": "a sweep did not succeed; the next one follows",
    "sweep.leases_ended": "messages of silent workers are due again",
    "message.claimed": "a worker holds the message",
    "message.lease_lost": "another worker may have the message: nothing more is sent for it",
    "message.failed": "a step raised an error",
    "message.parked": "the message waits",
    "message.held": "the message waits for an operator",
    "message.finished": "every recipient has a final state",
    "batch.sent": "SES accepted a batch",
    "batch.rejected": "SES refused a batch for good",
    "batch.throttled": "SES refused a batch for now",
    "batch.unavailable": "SES could not be reached or failed before accepting",
    "batch.unknown": "an SES call ended without an answer",
    "recipient.expired": "recipients were given up after max_age_seconds",
    "bounce.made": "the sender is told about refused recipients",
    # events
    "events.published": "a destination took a batch of events",
    "events.failed": "a destination did not take a batch; it is offered again",
    "events.refused": "a destination can never take an event; it is a dead letter now",
    "events.lost": "events beyond max_backlog were removed before a destination took them",
    "event": "one event, written by the destination `log`",
    # supervisor
    "up.starting": "a child process starts",
    "up.ready": "a child process is ready",
    "up.child_exited": "a child process ended",
    "up.restarting": "a child process is started again after a pause",
    "up.stopping": "everything is stopped in order",
    "up.output": "a line of a child that is no log line of ours",
    "failpoints.active": "this process dies or fails on purpose: a test",
    "settings.wrong": "settings that cannot be used",
}
