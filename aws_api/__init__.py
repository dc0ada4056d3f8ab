"""The HTTP door: /healthz and /metrics; the AWS operations have their place in the same application (app.py)."""
