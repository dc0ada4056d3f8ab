"""POST /feedback/sns: SES's events as SNS brings them over HTTPS."""
