"""Ways in which a rendered answer sends data away: what EchoLeak-like attacks make a model write.

Finds: images and embedded resources that a client would fetch from a remote host by itself (Markdown, also by
reference, and HTML); links whose address carries data (encoded or long values, text, e-mail addresses, account
numbers, telling parameter names, long host labels) or holds a placeholder for it; `javascript:` and `data:`
addresses; texts in invisible characters. Hosts that the operator allows, with their subdomains, are fine, and so
are ordinary links.

Misses: data in short values that look like identifiers, addresses that a redirect or shortener hides, addresses
split over messages. Costs: nothing to speak of for a text without an address, else one pass of 3 ns a byte and
about 10 us an address.
"""

from rules.exfiltration.detector import ExfiltrationDetector

__all__ = ["ExfiltrationDetector"]
