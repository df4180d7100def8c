"""An answer as the parser tells it: the home of httptools."""

from __future__ import annotations

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpResponseParser

from reconciler.net.failure import foreign

RawHeaders = list[tuple[bytes, bytes]]

MAX_BARREN_BYTES = 100 * 1024
# About so many that are neither a whole head nor of a body: headers, informational answers, extensions of chunks and
# trailers need have no end.

_VERSIONS = frozenset({"1.0", "1.1"})
_LEAST_STATUS = 200
_HINT = "a body of an informational answer"


class Message:
    """The head of an answer, informational ones passed over, and as much of its body as went through the parser."""

    def __init__(self, method: str, peer: str) -> None:
        self._is_head = method == "HEAD"
        self._peer = peer
        self._parser = HttpResponseParser(self)
        # Servers that send a length beside chunks, or spaces behind the size of a chunk, exist. The chunks count
        # (RFC 9112 §6.3), and the digest of what they hold judges.
        self._parser.set_dangerous_leniencies(lenient_chunked_length=True, lenient_spaces_after_chunk_size=True)
        self._pieces: list[bytes] = []
        self._barren_bytes = 0
        self._version = ""
        self._coding: bytes | None = None
        self.status = 0
        self.headers: RawHeaders = []
        """Names in lower case."""
        self.length_bytes: int | None = None
        self.has_head = False
        self.is_whole = False
        """Whether all of it has come; who reads a body past the parser says so."""
        self.flaw = ""
        """Why what came behind the head is no body: told to who reads that, for the head may say enough."""
        self.has_more = False
        """Whether bytes came behind its end: nobody knows what they belong to."""
        self.keeps_alive = False
        """Whether the other side lets its connection serve another request."""

    @property
    def has_begun(self) -> bool:
        """Whether any byte of it, or of a hint before it, has come."""
        return self.has_head or self._barren_bytes > 0

    @property
    def is_chunked(self) -> bool:
        """Whether the body has to go through the parser."""
        return self._coding is not None

    def feed(self, data: bytes) -> None:
        """The next bytes of the connection. Raises NetError if they can't be part of an answer."""
        had_head = self.has_head
        self._barren_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            why = _told(error)
            if not (self.is_whole or (self.has_head and not had_head)):
                raise foreign(self._peer, why) from None
            self.flaw, self.has_more = "" if self.is_whole else why, True
        problem = self._problem()
        if problem is not None:
            raise foreign(self._peer, problem)
        if self._is_head and self.has_head:
            self._end_at_head()

    def taken(self) -> bytes:
        """What has come of the body since the last call."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data

    def release(self) -> None:
        """Nothing is fed any more: parser and message would keep each other until somebody looks for such cycles."""
        self._pieces.clear()
        del self._parser

    def _end_at_head(self) -> None:
        """The answer to HEAD has no body, whatever it says; the parser does not know what was asked.

        Some servers send one all the same, perhaps later: the next answer would begin with it.
        """
        self._pieces.clear()
        self.is_whole, self.flaw, self.keeps_alive = True, "", False

    def _problem(self) -> str | None:
        if self._barren_bytes > MAX_BARREN_BYTES:
            return (
                f"more than {MAX_BARREN_BYTES // 1024} KiB of headers, or of what stands between the pieces of its body"
            )
        if not self.has_head:
            return None
        if self.status < _LEAST_STATUS:
            return f"the status {self.status:03}"
        if self._version not in _VERSIONS:
            return f"HTTP/{self._version}"
        return None if self._coding in (None, b"chunked") else "a transfer coding that was not asked for"

    # What follows is called by the parser.

    def on_message_begin(self) -> None:
        """A second one begins behind the end of the first."""
        self.has_more = self.is_whole

    def on_header(self, name: bytes, value: bytes) -> None:
        """Trailers are of no interest."""
        if not self.has_head:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Everything is known that the head says."""
        if self.has_head:
            return
        status = self._parser.get_status_code()
        if status // 100 == 1:
            self.headers.clear()
            return
        self.status = status
        self._version = self._parser.get_http_version()
        codings, lengths = (values_of(self.headers, name) for name in (b"transfer-encoding", b"content-length"))
        self.keeps_alive = self._parser.should_keep_alive() and not (codings and lengths)
        self._coding = b",".join(codings).rstrip(b" ").lower() if codings else None  # the parser overlooks no tab
        self.length_bytes = int(lengths[0]) if lengths else None
        # It leaves what is behind a value, which is not part of it (RFC 9112 §5).
        self.headers = [(name, value.strip(b" \t")) for name, value in self.headers]
        self.has_head, self._barren_bytes = True, 0

    def on_body(self, data: bytes) -> None:
        """Some of the body came, without what frames it."""
        if not self.has_head:
            raise ValueError(_HINT)  # the parser knows that of some statuses only
        if not self.is_whole:
            self._barren_bytes = 0
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        """The end of an informational answer is none."""
        self.is_whole = self.has_head


def _told(error: HttpParserError | HttpParserUpgrade) -> str:
    """In the words of the parser, none of which are the other side's."""
    if isinstance(error, HttpParserUpgrade):
        return "another protocol from here on"
    return _HINT if isinstance(error, HttpParserCallbackError) else str(error)


def values_of(headers: RawHeaders, wanted: bytes) -> list[bytes]:
    """The values of all headers of that name; both in lower case."""
    return [value for name, value in headers if name == wanted]
