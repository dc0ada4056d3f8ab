"""Run Lambda: a rule's function is asked, in AWS Lambda, over HTTP or in a process of its own on this machine."""
