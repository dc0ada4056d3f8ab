"""Every reply the gateway gives: name → code, enhanced code (RFC 3463), text. There is no other place for them.

4xx = the same message may be sent again later (nothing was taken, or it is taken back); 5xx = the client must change
something. A text never contains what a client sent. `{…}` is filled with values of our own only.
"""

from enum import Enum


class Reply(Enum):
    """A reply of one line; `line` is its wire form, `line_with` the form with values."""

    # The session
    READY = (220, "", "{hostname} ESMTP mailsluice")
    HELLO = (250, "", "{hostname}")
    GOODBYE = (221, "2.0.0", "Bye")
    OK = (250, "2.0.0", "Ok")
    HELP = (214, "2.0.0", "See RFC 5321; this is a gateway to Amazon SES")
    CANNOT_VERIFY = (252, "2.5.2", "Cannot verify, but will take the message and try")
    START_TLS = (220, "2.0.0", "Ready to start TLS")

    # A transaction
    SENDER_OK = (250, "2.1.0", "Sender ok")
    RECIPIENT_OK = (250, "2.1.5", "Recipient ok")
    GO_AHEAD = (354, "", "End data with <CR><LF>.<CR><LF>")
    ACCEPTED = (250, "2.0.0", "Ok {message_id}")

    # Authentication (RFC 4954)
    AUTHENTICATED = (235, "2.7.0", "Authentication successful")
    WRONG_CREDENTIALS = (535, "5.7.8", "Authentication credentials invalid")
    AUTH_NEEDED = (530, "5.7.0", "Authentication required")
    TLS_NEEDED = (530, "5.7.0", "Must issue a STARTTLS command first")
    AUTH_NEEDS_TLS = (538, "5.7.11", "Encryption required for the requested authentication mechanism")
    AUTH_BUSY = (454, "4.7.0", "Temporary authentication failure")
    AUTH_CANCELLED = (501, "5.7.0", "Authentication cancelled")
    AUTH_MALFORMED = (501, "5.5.2", "Cannot decode the authentication data")
    AUTH_UNKNOWN_MECHANISM = (504, "5.5.4", "Unrecognized authentication mechanism")
    AUTH_NOT_OFFERED = (502, "5.5.1", "Authentication is not available")
    AUTH_TWICE = (503, "5.5.1", "Already authenticated")
    AUTH_INSIDE_TRANSACTION = (503, "5.5.1", "Not during a mail transaction")

    # Policy
    RELAY_DENIED = (550, "5.7.1", "Relaying denied; authenticate or ask for your network to be allowed")
    SENDER_NOT_YOURS = (553, "5.7.1", "Sender address not allowed for this user")
    TOO_MANY_HOPS = (554, "5.4.6", "Too many Received lines: the message is in a loop")

    # Addresses
    BAD_SENDER = (553, "5.1.7", "Bad sender address syntax")
    BAD_RECIPIENT = (553, "5.1.3", "Bad recipient address syntax")
    NON_ASCII_LOCAL_PART = (550, "5.6.7", "Non-ASCII characters before the @ cannot be relayed")
    SUPPRESSED = (550, "5.1.1", "Recipient is suppressed: earlier mail to it bounced or was complained about")

    # Order and form of commands
    UNKNOWN_COMMAND = (500, "5.5.1", "Command not recognized")
    NOT_IMPLEMENTED = (502, "5.5.1", "Command not implemented")
    BAD_LINE = (500, "5.5.2", "Command lines are text that ends with CRLF")
    COMMAND_TOO_LONG = (500, "5.5.6", "Command line too long")
    BAD_ARGUMENTS = (501, "5.5.4", "Syntax error in the arguments of the command")
    BAD_PARAMETER = (501, "5.5.4", "Bad value of a parameter")
    UNKNOWN_PARAMETER = (555, "5.5.4", "Parameter not recognized or not implemented")
    HELLO_FIRST = (503, "5.5.1", "Send HELO or EHLO first")
    NESTED_MAIL = (503, "5.5.1", "Nested MAIL command")
    MAIL_FIRST = (503, "5.5.1", "Need MAIL first")
    NO_RECIPIENTS = (554, "5.5.1", "No valid recipients")
    NO_TLS = (502, "5.5.1", "STARTTLS is not available")
    TLS_ALREADY = (503, "5.5.1", "TLS is active already")

    # Limits
    TOO_LARGE = (552, "5.3.4", "Message size exceeds the fixed limit")
    TOO_MANY_RECIPIENTS = (452, "4.5.3", "Too many recipients")
    HEADER_TOO_LONG = (554, "5.6.0", "Message has a header section that is too long")
    LINE_TOO_LONG = (554, "5.6.0", "Message has a line that is too long")
    BARE_CR_OR_LF = (554, "5.6.0", "Message has a bare CR or LF; lines must end with CRLF")
    TOO_MANY_COMMANDS = (421, "4.7.0", "Too many commands, closing connection")
    TOO_MANY_ERRORS = (421, "4.7.0", "Too many errors, closing connection")
    TOO_MANY_LOGINS = (421, "4.7.0", "Too many failed logins, closing connection")
    TOO_MANY_CONNECTIONS = (421, "4.7.0", "Too many connections, try again later")
    TOO_MANY_CONNECTIONS_FROM_YOU = (421, "4.7.0", "Too many connections from your address, try again later")
    LOGIN_ENDED = (421, "4.7.0", "Your login has changed: connect and log in again")
    IDLE_TOO_LONG = (421, "4.4.2", "Timeout waiting for data from client")
    NOT_HTTP = (421, "4.7.0", "This is not an HTTP server")

    # Our own trouble: always temporary
    NO_MEMORY = (452, "4.3.1", "Too much unfinished mail, try again later")
    STORE_FULL = (452, "4.3.1", "Insufficient storage, try again later")
    STORE_NOT_SAFE = (451, "4.3.0", "Mail cannot be kept safely now, try again later")
    STORE_SILENT = (451, "4.3.0", "Temporary service failure, try again later")
    FAILED = (451, "4.3.0", "Temporary local problem, try again later")
    SHUTTING_DOWN = (421, "4.3.2", "Service shutting down, try again later")

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        self.code = code
        self.enhanced = enhanced
        self.form = f"{code} {enhanced} {text}" if enhanced else f"{code} {text}"
        #: Wire form of a reply without values.
        self.line = f"{self.form}\r\n".encode("ascii")
        self.closes = code in {221, 421}
        self.is_refusal = code >= 400
        #: The client did something wrong: counted against `max_errors`, except at RCPT. Our own trouble is not.
        self.is_clients_fault = code >= 500
        #: The name under which a refusal is counted.
        self.counter = f"smtp_refused:{self.name.lower()}"

    def line_with(self, **values: str) -> bytes:
        """Wire form with values of our own, for instance the message_id."""
        return f"{self.form}\r\n".format(**values).encode("ascii")


def several_lines(code: int, texts: list[str]) -> bytes:
    """A reply of several lines (EHLO): all but the last have a hyphen after the code."""
    marks = ["-"] * (len(texts) - 1) + [" "]
    return b"".join(f"{code}{mark}{text}\r\n".encode("ascii") for mark, text in zip(marks, texts, strict=True))
