"""From recipients that wait to SES's answer: batches, the call, what the answer means, when to try again."""
