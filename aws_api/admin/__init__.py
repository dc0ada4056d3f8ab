"""The operator's hand: what /admin/ and the command line can do, each thing once."""
