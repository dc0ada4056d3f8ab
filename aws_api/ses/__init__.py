"""The SES door: what boto3 clients of ses and sesv2 can do here."""
