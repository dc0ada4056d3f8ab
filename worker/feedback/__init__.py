"""SES's own events on their way back to us: read where they come from, believed, noted in the spool."""
