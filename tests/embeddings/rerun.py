"""Receipts of a real model through the proxy, and verdicts on them from re-execution, in both directions.

Three services stand behind the proxy, and it claims the same weights for all: the model; the model with changed weights; and one
that passes another input on than it was sent. A verifier runs their receipts again on the weights that were claimed.
"""

import contextlib
import http.client
import http.server
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

import model
import safetensors.numpy

HERE = pathlib.Path(__file__).resolve().parent
PATIENCE_SECONDS = 60
# One-thousandth of each matrix's own spread: less than rounding to bfloat16 changes.
SCALE = 0.001
REQUESTS = [
    {"input": "A man is eating food."},
    {"input": ["The girl is carrying a baby.", "Das Grundgesetz wurde am 23. Mai 1949 verkündet."]},
    {"input": [1037, 2158, 2003, 5983, 2833, 1012]},
    {"input": "東京は日本の首都です。", "encoding_format": "base64"},
]


class Wrong(Exception):
    """The Show does not hold."""


def demand(holds, *said):
    if not holds:
        raise Wrong(*said)


class Stage(contextlib.ExitStack):
    """Processes and files, gone at the end."""

    def __init__(self, programs):
        super().__init__()
        self.programs = pathlib.Path(programs)
        self.work = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        self.environment = os.environ | {"XDG_CONFIG_HOME": str(self.work / "config"), "NO_COLOR": "1"}

    def start(self, *command):
        """Starts a process that says where it listens; its lines until then, by their beginnings."""
        name = pathlib.Path(command[1 if command[0] == sys.executable else 0]).name
        errors = self.enter_context(open(self.work / f"{name}.log", "a"))
        process = subprocess.Popen(command, env=self.environment, cwd=self.work, stdout=subprocess.PIPE, stderr=errors, text=True)
        self.callback(self.stop, process)
        said = {}
        for line in process.stdout:
            key, _, value = line.strip().rpartition(" ")
            said[key] = value
            if key == "listening on":
                return said
        raise Wrong(f"{name} ended", (self.work / f"{name}.log").read_text())

    @staticmethod
    def stop(process):
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        process.stdout.close()

    def run(self, *arguments, program="counterfoil"):
        command = [self.programs / program, *map(str, arguments)]
        done = subprocess.run(command, env=self.environment, cwd=self.work, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        return done.returncode, done.stdout, done.stderr

    def does(self, *arguments, **more):
        code, out, err = self.run(*arguments, **more)
        demand(code == 0, arguments, code, out, err)
        return out

    def log(self):
        """A log, and the arguments that name it."""
        made = self.does(
            "init", "--origin", "log.example/embeddings", "--dir", "log", "--guard", "guard", "--open",
            "--listen", "127.0.0.1:0", program="counterfoil-server",
        )
        keys = {line.rpartition(" ")[0].strip(): line.split()[-1] for line in made.splitlines() if " key " in line}
        said = self.start(self.programs / "counterfoil-server", "run", "--config", "log/counterfoil.toml")
        until(lambda: status(said["listening on"], "/readyz") == 200, "the log takes receipts")
        self.does("log", "add", "l", said["listening on"], keys["log key"], "--clock", keys["clock key"])
        for name in "issuer", "verifier":
            self.does("keygen", "-o", f"{name}.pem")

    def model(self, *arguments):
        said = self.start(sys.executable, HERE / "server.py", *map(str, arguments))
        return said["listening on"], said["weights"]

    def proxy(self, upstreams, weights):
        tables = [
            f'[[upstream]]\nname = "{name}"\nurl = "{url}"\nprefix = "/{name}"\n'
            f'claimed = {{ name = "{model.NAME}", weights = "{weights}", basis = "hashed_at_load" }}\n'
            for name, url in upstreams.items()
        ]
        head = 'listen = "127.0.0.1:0"\nkey = "issuer.pem"\nspool = "spool"\nlog.name = "l"\n'
        (self.work / "proxy.toml").write_text(head + "".join(tables))
        return self.start(self.programs / "counterfoil", "proxy", "--config", "proxy.toml")["listening on"]

    def rerun(self, openings, endpoint, *more):
        """The verdicts on receipts, by id."""
        code, out, err = self.run(
            "--json", "verdict", "rerun", *openings, "--endpoint", endpoint, "--path", "/v1/embeddings", "--key", "verifier.pem",
            "--paid-by", "nobody", "--log", "l", "--out", "records", *more,
        )
        demand(code == 0, "rerun", code, out, err)
        lines = [json.loads(line) for line in out.splitlines()]
        proven = [line for line in lines if line["status"] == "proven"]
        demand(len(proven) == len(openings), "each verdict is in the log", lines)
        for record in proven:
            self.does("verify", record["bundle"], "--policy", "log/policy.txt")
        return [line for line in lines if line["status"] == "compared"]

    def standing(self, receipt):
        facts = json.loads(self.does("--json", "standing", receipt, "--log", "l"))["logs"][0]["facts"]
        return next(fact["standing"] for fact in facts if fact["fact"] == "claim")


class Relay(http.server.BaseHTTPRequestHandler):
    """A service that asks the model something else than it was asked."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        asked["input"] = changed(asked["input"])
        body = call(self.server.upstream, "/v1/embeddings", asked)[1]
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def changed(given):
    """The same input with one word more."""
    if isinstance(given, str):
        return given + " not"
    if isinstance(given[0], int):
        return [*given, 2025]
    return [changed(one) for one in given]


@contextlib.contextmanager
def relay(upstream):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Relay)
    server.upstream = upstream
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(url, method, path, body=None):
    with contextlib.closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE_SECONDS)) as connection:
        headers = {"authorization": "Bearer of-the-caller", "content-type": "application/json"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def status(url, path):
    try:
        return ask(url, "GET", path)[0]
    except OSError:
        return None


def call(url, path, asked):
    body = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
    code, headers, answer = ask(url, "POST", path, body)
    demand(code == 200, url, path, code, answer)
    return headers, answer


def until(holds, what):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        demand(time.monotonic() < deadline, f"{what}: not within {PATIENCE_SECONDS} s")
        time.sleep(0.02)


def receipts(stage, proxy, name):
    """Calls a service through the proxy; the files of the openings that the caller gets, once the receipts are in the log."""
    files = []
    for request in REQUESTS:
        body = json.dumps({"model": model.NAME} | request).encode()
        headers, answer = call(proxy, f"/{name}/v1/embeddings", body)
        place = f"/counterfoil/v1/exchanges/{headers['counterfoil-exchange']}"
        told = {}

        def delivered():
            code, _, text = ask(proxy, "GET", place)
            demand(code in (200, 202), place, code, text)
            told.update(json.loads(text))
            return told["bundle"] is not None

        until(delivered, "the receipt is in the log")
        stem = stage.work / told["id"]
        for ending, data in {".openings.json": json.dumps(told["openings"]).encode(), ".request": body, ".response": answer}.items():
            stem.with_name(stem.name + ending).write_bytes(data)
        files.append(stem.with_name(stem.name + ".openings.json"))
    return files


def show(stage, what, verdicts, result):
    for verdict in verdicts:
        demand(verdict["result"] == result, what, verdict)
    distances = [float(verdict["measure"]["statistic"]) for verdict in verdicts]
    print(f"{result}: {what}; {len(verdicts)} receipts, distances {min(distances):.2g} to {max(distances):.2g}, {verdicts[0]['measure']['threshold']} allowed", flush=True)
    return distances


def main():
    with Stage(sys.argv[1]) as stage:
        stage.log()
        weights = stage.work / "changed.safetensors"
        weights.write_bytes(safetensors.numpy.save(model.perturb(model.Model().tensors, SCALE)))
        real, digest = stage.model()
        other, other_digest = stage.model("--weights", weights)
        demand(digest == model.WEIGHTS_SHA256 != other_digest, "the weights are told apart")
        services = {"honest": real, "weights": other, "input": stage.enter_context(relay(real))}
        proxy = stage.proxy(services, digest)
        files = {name: receipts(stage, proxy, name) for name in services}

        # The verifier's own reference: another process than the one that answered.
        reference, _ = stage.model()
        stated = "--weights", digest
        honest = stage.rerun(files["honest"], reference, *stated)
        distances = show(stage, "an honest service", honest, "supported")
        demand(max(distances) == 0, "one machine, one program: the same bits", distances)
        demand(all(verdict["sample"]["count"] == len(REQUESTS) for verdict in honest), "all are one sample")
        show(stage, "a service whose weights were changed", stage.rerun(files["weights"], reference, *stated), "contradicted")
        show(stage, "a service that changes the input", stage.rerun(files["input"], reference, *stated), "contradicted")
        for name, result in {"honest": "supported", "weights": "contradicted", "input": "contradicted"}.items():
            for file in files[name]:
                demand(stage.standing(file.name.split(".")[0]) == result, "what stands", name, file.name)

        # The other way round: whoever runs other weights finds honest receipts contradicted, and both verdicts stand.
        again = stage.rerun(files["honest"][:1], other, "--weights", other_digest)
        show(stage, "an honest service, by a verifier with changed weights", again, "contradicted")
        demand(stage.standing(again[0]["receipt"]) == "contested", "two verdicts that disagree")

        # An input that is not the one that was committed to never leaves the verifier's machine.
        body = files["honest"][0].with_name(files["honest"][0].name.replace(".openings.json", ".request"))
        body.write_bytes(body.read_bytes().replace(b"food", b"wood"))
        code, out, err = stage.run("verdict", "rerun", files["honest"][0], "--endpoint", reference, "--dry-run", "--log", "l")
        demand(code == 1 and "request is not what the receipt commits to" in err, code, out, err)
        print("refused: a request that was changed after the receipt", flush=True)


if __name__ == "__main__":
    # Whoever ends this ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    try:
        main()
    except Wrong as wrong:
        sys.exit("does not hold: " + "\n".join(map(str, wrong.args)))
