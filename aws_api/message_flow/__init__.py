"""Amazon WorkMail's message-flow API: functions read a message and put back what it shall become."""
