"""The HTTP door: /healthz, /metrics, /admin/; the AWS operations have their place in the same application (app.py)."""
