"""What the sandbox says when it cannot do what was asked: the thing, the rule, the way out, in one message."""


class RackError(Exception):
    """The rack cannot do this; the message is for the person who asked."""


class RackDownError(RackError):
    """No rack is up in this directory."""
