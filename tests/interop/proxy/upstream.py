"""A service that says again, byte for byte, what recorded services said.

    upstream.py [--listen ADDRESS:PORT]

At `/<exchange>/<manner>/<path>` it gives the answer of one recorded exchange, if it is asked what was asked then; at any
other path that of the first good exchange that was recorded there, whatever it is asked. The manner is how the answer comes:

    plain    its length announced; a stream in one chunk an event
    gzip     the same, compressed where the caller takes that
    torn     in chunks of 61 bytes, wherever they cut events and letters
    close    without length, ended by closing the connection
    busy     the third time; before that 429 and 500
    gone     the third time; before that the connection closes
    cut      half of it, then the connection breaks off
    stall    its first event, or half of it, and then nothing until the caller leaves
"""

import argparse
import dataclasses
import json
import pathlib
import socket
import threading
import zlib

HERE = pathlib.Path(__file__).resolve().parent
TORN_BYTES = 61
# What services send beside the body: names in odd case, and one name twice.
MORE_HEADERS = (
    b"Server: replay\r\nSet-Cookie: a=1; Path=/\r\nX-Request-ID: req_%d\r\nopenai-processing-ms: 12\r\n"
    b"set-cookie: b=2; HttpOnly\r\n"
)


@dataclasses.dataclass(frozen=True)
class Exchange:
    """One recorded exchange."""

    name: str
    host: str
    path: str
    request: object
    status: int
    content_type: str
    body: bytes

    @property
    def is_stream(self):
        return self.content_type.startswith("text/event-stream")


def recorded():
    """The whole set where it lies beside the project, else the sample in it; and some of our own making for what is in neither."""
    root = HERE.parents[2]
    whole, sample = root / "../shared/data/exchanges.jsonl", root / "tests/data/exchanges.jsonl"
    exchanges = []
    for place, prefix in [(whole if whole.exists() else sample, ""), (HERE / "more.jsonl", "more-")]:
        for line in place.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            exchanges.append(Exchange(
                name=f"{prefix}{record['id']}",
                host=record["host"],
                path=record["path"],
                request=json.loads(record["request_body"]) if record["request_body"] else None,
                status=record["status"],
                content_type=record["response_headers"]["content-type"],
                body=record["response_body"].encode(),
            ))
    return exchanges


@dataclasses.dataclass
class Asked:
    """A request as it came, and what was answered: the body after transfer decoding, in the pieces in which it was sent."""

    head: bytes
    body: bytes
    sent: list = dataclasses.field(default_factory=list)
    status: int = 0
    answer_head: bytes = b""
    done: threading.Event = dataclasses.field(default_factory=threading.Event)

    @property
    def answer(self):
        return b"".join(self.sent)


def events(body):
    """A stream cut after each event; what stands after the last one comes last."""
    pieces, start = [], 0
    while (end := body.find(b"\n\n", start)) >= 0:
        pieces.append(body[start:end + 2])
        start = end + 2
    return [*pieces, body[start:]] if start < len(body) else pieces


def halves(exchange):
    """Where an answer breaks off: after its first event, or in its middle."""
    if exchange.is_stream:
        return events(exchange.body)[:1]
    return [exchange.body[:len(exchange.body) // 2]]


class Upstream:
    """The service, on threads of its own. `journal` has every request in the order in which they came."""

    def __init__(self, exchanges, address=("127.0.0.1", 0)):
        self.exchanges = {exchange.name: exchange for exchange in exchanges}
        self.journal = []
        self.turns = {}
        self.lock = threading.Lock()
        self.listener = socket.create_server(address, backlog=128)
        self.url = "http://{}:{}".format(*self.listener.getsockname()[:2])
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, connection.makefile("rb") as reader:
            try:
                while (asked := read(reader)) and self.answer(asked, connection, reader):
                    pass
            except (ConnectionError, BrokenPipeError):
                # Callers come and go; what they leave behind is for the tests to see.
                pass

    def answer(self, asked, connection, reader):
        """Answers one request; whether the connection goes on."""
        with self.lock:
            self.journal.append(asked)
        try:
            return Answering(self, asked, connection, reader).run()
        finally:
            asked.done.set()

    def turn(self, key):
        """How often this was asked before."""
        with self.lock:
            turn = self.turns[key] = self.turns.get(key, -1) + 1
        return turn

    def find(self, path, request):
        """The exchange for a path, and the manner of its answer."""
        _, name, manner, *rest = [*path.split("/", 3), "", "", ""][:4]
        exchange = self.exchanges.get(name)
        if exchange and "/" + rest[0] == exchange.path:
            return exchange, manner
        wants = (request or {}).get("stream", False)
        # What stands before the version is the service's own.
        what = "/v1/" + path.rsplit("/v1/", 1)[-1]
        good = [it for it in self.exchanges.values() if it.status == 200 and it.path.endswith(what) and it.is_stream == wants]
        # An answer in words, if there is one.
        good.sort(key=lambda it: "tools" in (it.request or {}) or b'"error":{' in it.body)
        return next(iter(good), None), "plain"


class Answering:
    """One answer."""

    def __init__(self, upstream, asked, connection, reader):
        self.upstream, self.asked, self.connection, self.reader = upstream, asked, connection, reader

    def run(self):
        asked = self.asked
        path = asked.head.split(b" ", 2)[1].decode().split("?")[0]
        request = json.loads(asked.body) if asked.body else None
        exchange, manner = self.upstream.find(path, request)
        if exchange is None:
            return self.whole(404, "application/json", b'{"error":{"message":"nothing was recorded here"}}')
        if path.endswith(f"{manner}{exchange.path}") and not same(exchange.request, request):
            return self.whole(422, "application/json", b'{"error":{"message":"this is not what was asked then"}}')
        if manner in ("busy", "gone"):
            turn = self.upstream.turn((exchange.name, manner, header(asked.head, b"user-agent"))) % 3
            if turn < 2:
                return self.fail(manner, turn)
            manner = "plain"
        return self.give(exchange, manner)

    def fail(self, manner, turn):
        if manner == "gone":
            return False
        status, error = [(429, b"rate_limit_error"), (500, b"api_error")][turn]
        body = b'{"type":"error","error":{"type":"%s","message":"not now"}}' % error
        return self.whole(status, "application/json", body, b"Retry-After-Ms: 1\r\n")

    def give(self, exchange, manner):
        body, more = exchange.body, b""
        if manner in ("cut", "stall"):
            return self.broken(exchange, manner)
        pieces = events(body) if exchange.is_stream else [body]
        if manner == "gzip" and b"gzip" in header(self.asked.head, b"accept-encoding"):
            pieces, more = compressed(pieces), b"Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n"
        if manner == "torn":
            pieces = [body[at:at + TORN_BYTES] for at in range(0, len(body), TORN_BYTES)]
        if manner == "close":
            self.head(exchange.status, exchange.content_type, more + b"Connection: close\r\n")
            for piece in pieces:
                self.send(piece)
            return False
        if not exchange.is_stream and manner != "torn":
            return self.whole(exchange.status, exchange.content_type, b"".join(pieces), more)
        self.head(exchange.status, exchange.content_type, more + b"Transfer-Encoding: chunked\r\n")
        for piece in pieces:
            self.send(piece, b"%x\r\n" % len(piece), b"\r\n")
        self.connection.sendall(b"0\r\n\r\n")
        return True

    def broken(self, exchange, manner):
        self.head(exchange.status, exchange.content_type, b"Transfer-Encoding: chunked\r\n")
        for piece in halves(exchange):
            self.send(piece, b"%x\r\n" % len(piece), b"\r\n")
        if manner == "stall":
            # Nothing more is asked on this connection: it ends when the other side closes it.
            self.reader.read(1)
        return False

    def whole(self, status, content_type, body, more=b""):
        self.head(status, content_type, more + b"Content-Length: %d\r\n" % len(body))
        self.send(body)
        return True

    def head(self, status, content_type, more):
        number = len(self.upstream.journal)
        lines = b"HTTP/1.1 %d Said Again\r\nContent-Type: %s\r\n" % (status, content_type.encode())
        self.asked.status = status
        self.asked.answer_head = lines + MORE_HEADERS % number + more
        self.connection.sendall(self.asked.answer_head + b"\r\n")

    def send(self, piece, before=b"", after=b""):
        self.asked.sent.append(piece)
        self.connection.sendall(before + piece + after)


def compressed(pieces):
    """Each piece compressed so that it can be read as soon as it is there."""
    gzip = zlib.compressobj(wbits=31)
    pieces = [gzip.compress(piece) + gzip.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]
    return [*pieces, gzip.flush()]


def same(recorded, request):
    """Whether a request is the one that was recorded. Clients leave `stream` out where it is false."""
    def plain(request):
        return {name: value for name, value in (request or {}).items() if (name, value) != ("stream", False)}
    return plain(recorded) == plain(request)


def header(head, name):
    """The value of a header; empty if there is none."""
    for line in head.split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.lower() == name:
            return value.strip()
    return b""


def read(reader):
    """The next request of a connection; `None` at its end."""
    head = b""
    while (line := reader.readline()) not in (b"\r\n", b""):
        head += line
    if not line:
        return None
    body = b""
    if header(head, b"transfer-encoding"):
        while size := int(reader.readline(), 16):
            body += reader.read(size)
            reader.readline()
        reader.readline()
    else:
        body = reader.read(int(header(head, b"content-length") or 0))
    return Asked(head, body)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", default="127.0.0.1:8000", help="where to listen (default: %(default)s)")
    host, _, port = parser.parse_args().listen.rpartition(":")
    upstream = Upstream(recorded(), (host, int(port)))
    print(f"listening on {upstream.url}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
