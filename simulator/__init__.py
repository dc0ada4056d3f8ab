"""A local stand-in for Amazon SES that speaks its real wire: `mailsluice simulator`.

Unmodified AWS clients send to it; what it accepts is kept in a ledger and shown on a plain web page, and its
limits, latency and faults are set over HTTP. What SES tells of a call later comes by SNS into an SQS queue that it
serves. It delivers nothing, verifies no signature and no identity.
It imports nothing of ours, so that it cannot share a mistake with what it is there to check.
"""
