"""Connections that hang on: thousands that say nothing, hundreds that send or take too slowly. One process, held by its standard
input: it attacks until that is closed, and says every second how many connections are open.

    python3 tests/bench/attack.py HOST PORT IDLE SLOW ADDRESSES
"""

import collections
import json
import resource
import select
import socket
import sys
import time

# Seconds between two steps of what is sent slowly, and how many connections are opened at most in a tenth of a second.
STEP_S = 1.0
OPEN_MAX = 150
# In Linux, but not in every Python: a port is chosen at connect, so that each address has all of them.
BIND_NO_PORT = 24

ASK = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
CHUNK = b"3e0\r\n" + b"{}\n" * 330 + b"{}\r\n"


class Kind:
    """A way to hold a connection: what is sent at first and then in each step, and whether anything is read."""

    def __init__(self, name, first, step=b"", reads=True):
        self.name, self.first, self.step, self.reads = name, first, step, reads


SILENT = Kind("silent", b"")
KEPT = Kind("kept", ASK)
SLOW = [
    Kind("slow head", b"GET /checkpoint HTTP/1.1\r\n", b"A: b\r\n"),
    Kind("slow body", b"POST /v1/receipts HTTP/1.1\r\nHost: h\r\nContent-Length: 70000\r\n\r\n", b" "),
    Kind("endless body", b"POST /v1/receipts/batch HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNK),
    Kind("never reads", b"GET /tile/entries/000 HTTP/1.1\r\nHost: h\r\n\r\n" * 2000, reads=False),
]


class Attack:
    """All connections, and what is due on them."""

    def __init__(self, server, idle, slow, addresses):
        self.server, self.addresses = server, addresses
        self.poll = select.epoll()
        self.open, self.count, self.made, self.refused = {}, collections.Counter(), 0, 0
        wanted = [SILENT if n % 2 else KEPT for n in range(idle)] + [SLOW[n % len(SLOW)] for n in range(slow)]
        self.missing = collections.deque(wanted)

    def connect(self, kind):
        made = socket.socket()
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_IP, BIND_NO_PORT, 1)
        if not kind.reads:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.bind((f"127.0.1.{1 + self.made % self.addresses}", 0))
        self.made += 1
        made.connect_ex(self.server)
        self.open[made.fileno()] = [made, kind, kind.first, False]
        self.count[kind.name] += 1
        self.poll.register(made, select.EPOLLIN * kind.reads | select.EPOLLOUT | select.EPOLLRDHUP)

    def close(self, number):
        made, kind, _, is_connected = self.open.pop(number)
        self.refused += not is_connected
        self.count[kind.name] -= 1
        self.poll.unregister(number)
        made.close()
        self.missing.append(kind)

    def happened(self, number, event):
        made, kind, rest, _ = self.open[number]
        try:
            if event & (select.EPOLLERR | select.EPOLLHUP | select.EPOLLRDHUP):
                raise ConnectionResetError
            if event & select.EPOLLIN and kind.reads and not made.recv(65536):
                raise ConnectionResetError
            if event & select.EPOLLOUT:
                self.open[number][3] = True
                rest = rest[made.send(rest):] if rest else rest
                self.open[number][2] = rest
                if not rest:
                    self.poll.modify(number, select.EPOLLIN * kind.reads | select.EPOLLRDHUP)
        except BlockingIOError:
            pass
        except OSError:
            self.close(number)

    def step(self):
        """A little more of what is sent slowly."""
        for number, (made, kind, rest, is_connected) in list(self.open.items()):
            if kind.step and not rest and is_connected:
                try:
                    made.send(kind.step)
                except BlockingIOError:
                    pass
                except OSError:
                    self.close(number)

    def run(self):
        self.poll.register(sys.stdin, select.EPOLLIN | select.EPOLLHUP)
        stdin, said, opened = sys.stdin.fileno(), 0.0, 0.0
        while True:
            now = time.monotonic()
            if now - opened >= 0.1:
                opened = now
                for _ in range(min(OPEN_MAX, len(self.missing))):
                    self.connect(self.missing.popleft())
            if now - said >= STEP_S:
                said = now
                self.step()
                used = resource.getrusage(resource.RUSAGE_SELF)
                state = {"open": self.count, "made": self.made, "refused": self.refused,
                         "processor_s": used.ru_utime + used.ru_stime}
                print(json.dumps(state), flush=True)
            for number, event in self.poll.poll(0.05, 1024):
                if number == stdin:
                    return
                if number in self.open:
                    self.happened(number, event)


def main():
    host, port, idle, slow, addresses = sys.argv[1], *map(int, sys.argv[2:])
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = idle + slow + 64
    if most != resource.RLIM_INFINITY and most < wanted:
        raise SystemExit(f"{wanted} files have to be open, {most} may be: raise the limit (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    Attack((host, port), idle, slow, addresses).run()


if __name__ == "__main__":
    main()
