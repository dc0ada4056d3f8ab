"""Door 1: SMTP. Takes a message into the spool and says OK only when it is safe there.

Start with session.py (a connection's life), commands.py (what each command does), taking.py (DATA) and commit.py
(when OK is said). aiosmtpd is the ground; what is replaced and why stands in session.py.
"""
