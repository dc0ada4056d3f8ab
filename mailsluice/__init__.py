"""The command `mailsluice`: it starts things and shows things, and decides nothing about a message.

command.py lists the commands; up.py is the table of what `mailsluice up` starts, supervisor.py starts, watches and
stops it.
"""
