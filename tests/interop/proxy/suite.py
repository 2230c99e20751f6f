"""The official clients through `counterfoil proxy`, before a service that says again what was recorded.

    suite.py --programs DIR --log NAME --policy FILE --work DIR [--example COMMAND]...

Every call is made twice: directly, and through the proxy with only the base URL changed. What the client makes of the answer
has to be the same, and the bytes that came to it those that the service sent; every exchange has a receipt that `counterfoil
verify` accepts with its openings and both bodies. An example is a command that is run with COUNTERFOIL_PROXY set. Exits 1 if
anything does not hold.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import calls
import upstream
from upstream import header

# How answers come to the clients; in each, the ways to ask that are tried.
MANNERS = {
    "plain": calls.WAYS,
    "gzip": ("objects", "wire"),
    "torn": ("objects", "wire"),
    "close": ("objects", "wire"),
}
# Lines that are of one connection, and those that the proxy writes itself.
OF_CONNECTION = (b"connection", b"transfer-encoding", b"keep-alive")
OWN = (b"counterfoil-exchange", b"counterfoil-promise")
PATIENCE_SECONDS = 30
# More of them say nothing more.
FAILURES_SHOWN = 20


class Failed(Exception):
    """Something does not hold."""


@dataclasses.dataclass
class Passed:
    """An exchange that passed the proxy, with what the service saw of it."""

    what: str
    name: str
    exchange: upstream.Exchange
    asked: upstream.Asked
    outcome: str = ""


class Proxy:
    """A proxy as a process, and what passed it."""

    def __init__(self, arguments, mode, service):
        work = arguments.work / mode
        work.mkdir()
        self.mode, self.work, self.arguments, self.passed = mode, work, arguments, []
        program = str(arguments.programs / "counterfoil")
        subprocess.run([program, "keygen", "-o", work / "issuer.pem"], check=True, capture_output=True)
        command = [program, "proxy", "--upstream", service.url, "--key", work / "issuer.pem", "--spool", work / "spool"]
        command += ["--log", arguments.log, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        command += ["--strict"] if mode == "strict" else []
        self.errors = open(work / "errors", "w", encoding="utf-8")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.url = self.said("listening on ")
        self.admin = self.said("metrics on ").removesuffix("/metrics")
        # Exchanges whose name no client shows are counted.
        self.expected = 0

    def said(self, start):
        for line in self.process.stdout:
            if line.startswith(start):
                return line.removeprefix(start).strip()
        raise Failed(f"the proxy ended: {(self.work / 'errors').read_text()}")

    def stop(self):
        self.process.terminate()
        code = self.process.wait()
        self.errors.close()
        check(code == 0, "the proxy ends in order", code)

    def metric(self, name):
        with urllib.request.urlopen(self.admin + "/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if re.match(rf"{name}[ {{]", line))

    def look_up(self, name, credential):
        """Status and body of an exchange, for a credential."""
        request = urllib.request.Request(f"{self.url}/counterfoil/v1/exchanges/{name}", headers=credential)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, None

    def delivered(self, passed):
        """The exchange, once its receipt is in the log."""
        name = b"x-api-key" if header(passed.asked.head, b"x-api-key") else b"authorization"
        credential = {name.decode(): header(passed.asked.head, name).decode()}
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            status, found = self.look_up(passed.name, credential)
            check(status in (200, 202), "the exchange is there for the credential that it was made with", status)
            if status == 200 and found["bundle"]:
                check(self.look_up(passed.name, {name.decode(): "another"})[0] == 404, "and for no other")
                return found
            time.sleep(0.02)
        raise Failed(f"no receipt in the log within {PATIENCE_SECONDS} s")

    def verify(self, passed):
        """The receipt of an exchange is accepted with its openings and the bodies that the service got and sent."""
        found = self.delivered(passed)
        folder = self.work / passed.name
        folder.mkdir()
        for name in ("bundle", "openings"):
            (folder / name).write_text(json.dumps(found[name]), encoding="utf-8")
        (folder / "request").write_bytes(passed.asked.body)
        (folder / "response").write_bytes(passed.asked.answer)
        run = self.verifier(folder)
        check(run.returncode == 0, "verify accepts the receipt", run.stdout + run.stderr)
        says = next(line for line in run.stdout.splitlines() if line.startswith("says: "))
        outcome = says.rsplit(", ", 1)[1]
        if passed.outcome:
            check(outcome == passed.outcome, f"the receipt says {passed.outcome}", says)
        model = next(line for line in run.stdout.splitlines() if line.startswith("model: "))
        requested = (passed.exchange.request or {}).get("model")
        check(f"requested {requested}," in model, f"the receipt names {requested}", model)

    def verifier(self, folder):
        """Runs `counterfoil verify` on the files of an exchange."""
        command = [self.arguments.programs / "counterfoil", "verify", folder / "bundle", "--policy", self.arguments.policy]
        for name in ("openings", "request", "response"):
            command += [f"--{name}", folder / name]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def refused(self, passed):
        """With one bit of a body changed it is not accepted."""
        folder = self.work / passed.name
        for name in ("request", "response"):
            whole = (folder / name).read_bytes()
            (folder / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
            run = self.verifier(folder)
            (folder / name).write_bytes(whole)
            check(run.returncode == 1 and f"{name} differs" in run.stdout, f"a changed {name} is refused", run.stdout)


def check(holds, what, seen=""):
    if not holds:
        raise Failed(f"{what}: not so. {str(seen)[:2000]}")


class Suite:
    """All tests, and how many passed."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.exchanges = upstream.recorded()
        self.service = upstream.Upstream(self.exchanges)
        self.clients = calls.Clients()
        self.proxies = [Proxy(arguments, mode, self.service) for mode in ("fail-open", "strict")]
        self.counts, self.failures = {}, []

    def test(self, kind, what, run, *given):
        """Runs one test."""
        try:
            result = run(*given)
        except Failed as failed:
            self.failures.append(f"{kind}: {what}: {failed}")
            return None
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return result

    def run(self):
        for exchange in self.exchanges:
            for manner, ways in MANNERS.items():
                self.take(exchange, manner, ways)
        some = representatives(self.exchanges)
        for exchange in some:
            self.again(exchange, "busy")
            self.broken(exchange, "cut")
        # Here the clients wait long: one call of each is enough.
        for exchange in {calls.is_anthropic(exchange): exchange for exchange in some}.values():
            self.again(exchange, "gone")
            self.broken(exchange, "stall")
        for proxy in self.proxies:
            self.receipts(proxy)
            for example in self.arguments.example:
                self.test("examples", f"{proxy.mode}: {example}", self.example, proxy, example)
            self.test("proxies", proxy.mode, proxy.stop)
        return self.report()

    def report(self):
        for failure in self.failures[:FAILURES_SHOWN]:
            print(f"FAIL: {failure}", file=sys.stderr)
        if self.failures:
            print(f"{len(self.failures)} failed", file=sys.stderr)
        print(f"{len(self.exchanges)} exchanges; passed: " + ", ".join(f"{count} {kind}" for kind, count in self.counts.items()))
        wanted = {"calls", "connections", "retries", "broken", "receipts", "changed bodies", "proxies"} | ({"examples"} if self.arguments.example else set())
        missing = wanted - self.counts.keys()
        if missing:
            print(f"FAIL: nothing passed of {', '.join(sorted(missing))}", file=sys.stderr)
        return 1 if self.failures or missing else 0

    def last(self, before):
        """What the service was asked since there were `before` requests: the last of it, answered."""
        check(len(self.service.journal) > before, "the service was asked")
        asked = self.service.journal[-1]
        check(asked.done.wait(PATIENCE_SECONDS), "the service has answered")
        return asked

    def take(self, exchange, manner, ways):
        """One exchange that is answered in one manner."""
        place = f"/{exchange.name}/{manner}"
        direct = None
        for way in ways:
            if way == "helper" and not calls.has_helper(exchange):
                continue
            before = len(self.service.journal)
            expected, _ = self.clients.call(self.service.url + place, exchange, way)
            direct = self.last(before)
            for proxy in self.proxies:
                what = f"{proxy.mode}: {exchange.name} {exchange.path} {manner} {way}"
                self.test("calls", what, self.same, proxy, exchange, place, way, expected, direct, what)
        for proxy in self.proxies:
            what = f"{proxy.mode}: {exchange.name} {exchange.path} {manner}"
            self.test("connections", what, self.connection, proxy, exchange, direct, what)

    def same(self, proxy, exchange, place, way, expected, direct, what):
        """A call through the proxy is the same as one without, for both sides."""
        before = len(self.service.journal)
        result, headers = self.clients.call(proxy.url + place, exchange, way)
        asked = self.last(before)
        check(result == expected, "the client gets the same", f"{result}\n--- without the proxy\n{expected}")
        check(len(self.service.journal) == before + 1, "the service was asked once")
        if result[0] == "wire":
            check(result[1] == asked.answer, "the bytes are those that the service sent")
        check(asked.answer == direct.answer, "the service answered the same")
        check(asked.body == direct.body, "the service got the same body")
        # Clients bring back the cookies that they got meanwhile.
        own = (b"host", b"cookie")
        check(lines(asked.head, *own) == lines(direct.head, *own), "the service got the same head", asked.head)
        self.passed(proxy, exchange, asked, headers, what)

    def passed(self, proxy, exchange, asked, headers, what, outcome=""):
        """Notes an exchange whose receipt is to be verified."""
        if not is_call(exchange):
            check(headers is None or "counterfoil-exchange" not in headers, "what calls no model has no receipt")
            return
        proxy.expected += 1
        if headers is not None:
            name = headers.get("counterfoil-exchange", "")
            check(re.fullmatch("[0-9a-f]{32}", name), "the answer names its exchange", name)
            proxy.passed.append(Passed(what, name, exchange, asked, outcome))

    def connection(self, proxy, exchange, direct, what):
        """The very bytes that the client sent to the service, sent to the proxy: head and body come back as the service sent
        them, and every event ends where a chunk ends."""
        before = len(self.service.journal)
        host, port = proxy.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS) as connection:
            connection.sendall(direct.head + b"\r\n" + direct.body)
            head, chunks = read_answer(connection.makefile("rb"))
        asked = self.last(before)
        check(lines(asked.head, b"host") == lines(direct.head, b"host"), "the service got the same head", asked.head)
        check(asked.body == direct.body, "the service got the same body")
        check(b"".join(chunks) == asked.answer == direct.answer, "the body is the service's", b"".join(chunks))
        check(head.split(b"\r\n")[0] == asked.answer_head.split(b"\r\n")[0], "so is the status line", head)
        check(lines(head, *OWN) == lines(asked.answer_head), "so are all headers", head)
        if exchange.is_stream and header(asked.answer_head, b"transfer-encoding") and "torn" not in what:
            check(ends(asked.sent) <= ends(chunks), "no event is held back for the next")
        names = {"counterfoil-exchange": header(head, OWN[0]).decode()} if header(head, OWN[0]) else {}
        self.passed(proxy, exchange, asked, names, f"{what} by hand")

    def again(self, exchange, manner):
        """The client tries again, by its own rules: each try is an exchange, and gets a receipt."""
        place = f"/{exchange.name}/{manner}"
        options = {"max_retries": 2}
        expected, _ = self.clients.call(self.service.url + place, exchange, "objects", **options)
        for proxy in self.proxies:
            what = f"{proxy.mode}: {exchange.name} {exchange.path} {manner}"
            self.test("retries", what, self.same_again, proxy, exchange, place, expected, what)

    def same_again(self, proxy, exchange, place, expected, what):
        before = len(self.service.journal)
        result, headers = self.clients.call(proxy.url + place, exchange, "objects", max_retries=2)
        check(result == expected, "the client gets the same", f"{result}\n--- without the proxy\n{expected}")
        tries = self.service.journal[before:]
        check(len(tries) == 3, "the client tried three times", len(tries))
        proxy.expected += 2
        self.passed(proxy, exchange, self.last(before), headers, what)

    def broken(self, exchange, manner):
        """The service breaks off, or says nothing more until the client has lost patience."""
        place, options = f"/{exchange.name}/{manner}", {"timeout": 2} if manner == "stall" else {}
        client = self.clients.client(self.service.url + place, exchange, **options)
        expected, _ = calls.broken(client, exchange)
        for proxy in self.proxies:
            what = f"{proxy.mode}: {exchange.name} {exchange.path} {manner}"
            self.test("broken", what, self.broken_as, proxy, exchange, place, options, expected, what)

    def broken_as(self, proxy, exchange, place, options, expected, what):
        before = len(self.service.journal)
        result, headers = calls.broken(self.clients.client(proxy.url + place, exchange, **options), exchange)
        asked = self.last(before)
        if proxy.mode == "fail-open" or exchange.is_stream:
            check(result == expected and result[0] == "broken", "the client sees the same end", f"{result}, not {expected}")
        else:
            # Strict mode keeps the newest piece of a plain answer until the receipt lasts, and for good if there is no end.
            check(result[0] == "broken" and expected[1].startswith(result[1]), "the client sees an end", result)
        outcome = "aborted_by_client" if place.endswith("stall") else "aborted_by_upstream"
        self.passed(proxy, exchange, asked, headers, what, outcome)

    def receipts(self, proxy):
        """Every exchange that passed has its receipt, in the log, and they are all."""
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            tests = [(passed, pool.submit(proxy.verify, passed)) for passed in proxy.passed]
            for passed, verified in tests:
                self.test("receipts", passed.what, verified.result)
        for passed in {passed.exchange.path: passed for passed in proxy.passed if passed.asked.answer}.values():
            self.test("changed bodies", passed.what, proxy.refused, passed)
        self.test("receipts", f"{proxy.mode}: all", self.all_receipts, proxy)

    def all_receipts(self, proxy):
        end = time.monotonic() + PATIENCE_SECONDS
        while proxy.metric("counterfoil_proxy_under_way") or proxy.metric("counterfoil_proxy_undelivered"):
            check(time.monotonic() < end, "all receipts reach the log")
            time.sleep(0.02)
        for name in ("counterfoil_proxy_receipts_total", "counterfoil_proxy_delivered_total"):
            check(proxy.metric(name) == proxy.expected, f"{name} is {proxy.expected}", proxy.metric(name))
        check(proxy.metric("counterfoil_proxy_unreceipted_total") == 0, "no exchange is without a receipt")
        names = [passed.name for passed in proxy.passed]
        check(len(set(names)) == len(names), "each exchange has a name of its own")

    def example(self, proxy, example):
        """An example comes to its end, and says that its receipt holds."""
        keys = {"OPENAI_API_KEY": calls.KEY, "ANTHROPIC_API_KEY": calls.KEY}
        environment = {**os.environ, **keys, "COUNTERFOIL_PROXY": proxy.url, "COUNTERFOIL_LOG": self.arguments.log}
        environment["PATH"] = f"{self.arguments.programs}:{environment['PATH']}"
        environment["TMPDIR"] = str(proxy.work)
        run = subprocess.run(
            example.split(), env=environment, capture_output=True, text=True, check=False, timeout=60, cwd=proxy.work
        )
        check(run.returncode == 0, "it ends well", run.stdout + run.stderr)
        verified = run.stdout.count("yes: all that you asked for holds\n")
        check(verified == 2, "both its receipts are verified", run.stdout + run.stderr)


def is_call(exchange):
    """Whether an exchange calls a model."""
    ends = ("/completions", "/responses", "/embeddings", "/v1/messages")
    return exchange.path.endswith(ends)


def representatives(exchanges):
    """The first good exchange of each path, streamed and not."""
    found = {}
    for exchange in exchanges:
        path = exchange.path.rsplit("/v1/", 1)[1]
        if exchange.status == 200 and is_call(exchange) and exchange.name != "more-stream-error":
            found.setdefault((path, exchange.is_stream), exchange)
    return list(found.values())


def lines(head, *without):
    """The headers of a head, sorted (HTTP gives no meaning to the order of names), but for those of its connection. Names are
    compared without case: of one name that was written in two ways only one is kept."""
    found = []
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name and name.lower() not in (*OF_CONNECTION, *without):
            found.append((name.lower(), value.strip()))
    # Those of one name keep their order.
    return sorted(found, key=lambda line: line[0])


def read_answer(reader):
    """Head and chunks of an answer; one chunk if its length was announced."""
    head = b""
    while (line := reader.readline()) not in (b"\r\n", b""):
        head += line
    if not header(head, b"transfer-encoding"):
        return head, [reader.read(int(header(head, b"content-length")))]
    chunks = []
    while size := int(reader.readline() or b"-1", 16):
        check(size > 0, "the answer comes to its end", head)
        chunks.append(reader.read(size))
        reader.readline()
    return head, chunks


def ends(pieces):
    """Where each piece ends."""
    at, found = 0, set()
    for piece in pieces:
        at += len(piece)
        found.add(at)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=pathlib.Path, required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--policy", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--example", action="append", default=[])
    arguments = parser.parse_args()
    sys.exit(Suite(arguments).run())


if __name__ == "__main__":
    main()
