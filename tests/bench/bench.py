"""What the measurements share: the programs, a log and its ceiling as processes, loads on them, and verdicts.

COUNTERFOIL_BENCH_PROGRAMS names a directory with programs that are built already; TMPDIR says where logs are made.
"""

import atexit
import contextlib
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
ORIGIN = "bench.invalid/1"
MIB = 1024 * 1024
# Each run sends receipts that no other run sent.
_seed = int(time.time())


def programs(*more):
    """The directory of the release programs: the log's, the client's, and those that are named."""
    given = os.environ.get("COUNTERFOIL_BENCH_PROGRAMS")
    if given:
        return pathlib.Path(given)
    names = [argument for name in ("counterfoil-server", "counterfoil", *more) for argument in ("--bin", name)]
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", *names], cwd=ROOT, check=True)
    return target() / "release"


def target():
    """Where cargo puts what it builds."""
    metadata = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
    out = subprocess.run(metadata, cwd=ROOT, check=True, capture_output=True).stdout
    return pathlib.Path(json.loads(out)["target_directory"])


@contextlib.contextmanager
def work_directory():
    """A directory for logs. All of them go when the script ends, and none before: an ext4 without journal looks at each inode that
    was deleted in the last minutes whenever it makes one, so that what one case removes slows the next.
    """
    work = pathlib.Path(tempfile.mkdtemp(prefix="counterfoil-bench."))
    atexit.register(shutil.rmtree, work, ignore_errors=True)
    yield work


class Server:
    """A process of the server's program that says where it listens."""

    def __init__(self, command):
        self.command = [str(part) for part in command]
        self.process = None
        self.key = None
        self.url = None

    def start(self):
        """Starts it, and returns the seconds until it took connections."""
        began = time.monotonic()
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        for line in self.process.stdout:
            if line.startswith("log key"):
                self.key = line.split()[-1]
            if line.startswith("listening on"):
                self.url = line.split()[-1]
                return time.monotonic() - began
        raise SystemExit(f"{' '.join(self.command)} ended with {self.process.wait()}")

    def stop(self, how=signal.SIGTERM):
        """Stops it and waits for its end."""
        process, self.process = self.process, None
        if process:
            process.send_signal(how)
            process.wait()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop(signal.SIGKILL)

    def processor_seconds(self):
        """Processor time that it has used."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, name="VmHWM"):
        """Bytes of memory: the most it ever had, or with VmRSS what it has."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(name))


class Log(Server):
    """A log of its own, which admits any valid signature."""

    def __init__(self, programs, directory):
        self.directory = pathlib.Path(directory)
        self.config = self.directory / "log" / "counterfoil.toml"
        server = programs / "counterfoil-server"
        key = self.directory / "key"
        if not self.config.exists():
            self.directory.mkdir(parents=True, exist_ok=True)
            place = ["--dir", self.directory / "log", "--guard", self.directory / "guard"]
            init = [server, "init", "--origin", ORIGIN, "--open", "--listen", "127.0.0.1:0", *place]
            out = subprocess.run([str(part) for part in init], check=True, capture_output=True, text=True).stdout
            key.write_text(next(line.split()[-1] for line in out.splitlines() if line.startswith("log key")))
        super().__init__([server, "run", "--config", self.config, "--log-level", "warn"])
        self.key = key.read_text()

    def start(self):
        """Starts it, and returns the seconds until it took receipts."""
        began = time.monotonic()
        super().start()
        while self.get("/readyz") is None:
            time.sleep(0.005)
        return time.monotonic() - began

    def get(self, path):
        """The body at a path; None for any status but 200."""
        try:
            with urllib.request.urlopen(self.url + path) as answer:
                return answer.read()
        except urllib.error.HTTPError:
            return None

    def size(self):
        """How many entries it has."""
        return int(self.get("/checkpoint").splitlines()[1])


def ceiling(programs, size):
    """Bare handlers that answer as a log of that size does."""
    return Server([programs / "counterfoil-server", "bench-ceiling", "--size", size])


def load(programs, server, *arguments):
    """One run of the load tool: its result, with the processor time that each receipt cost the server, those of the warm-up too."""
    global _seed
    _seed += 1
    target = ["load", "--json", "--url", server.url, "--log-key", server.key, "--seed", _seed]
    command = [programs / "counterfoil", *target, *arguments]
    before = server.processor_seconds()
    out = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
    result = json.loads(out)
    if result["refused"]:
        raise SystemExit(f"{result['refused']} receipts were refused: this is no measurement of a log that keeps up")
    if not result["per_second"] and not result["reads"]:
        raise SystemExit("everything was sent before the warm-up was over: send more receipts")
    spent = server.processor_seconds() - before
    result["server_us"] = spent * 1e6 / max(1, result["requests"] * result["batch"])
    return result


def fill(programs, log, entries):
    """Appends receipts until the log has so many entries, no more at a time than its queue takes."""
    if (missing := entries - log.size()) > 0:
        load(programs, log, "--fill", missing, "--batch", 500, "--connections", 16)


def median(runs, *path):
    """The median of one figure over several runs."""
    def figure(run):
        for name in path:
            run = run[name]
        return run
    return statistics.median(figure(run) for run in runs)


class Verdicts:
    """Figures held against their bounds; the exit code says whether all hold."""

    def __init__(self):
        self.failed = False

    def hold(self, what, figure, relation, bound, unit=""):
        """Prints a figure with its bound, and notes whether it holds."""
        holds = {">=": figure >= bound, "<=": figure <= bound, "<": figure < bound}[relation]
        self.failed |= not holds
        print(f"{'ok  ' if holds else 'MISS'} {what}: {figure:.3g}{unit} ({relation} {bound:g}{unit})", flush=True)

    def exit(self):
        """Ends the program: 0 if everything held."""
        sys.exit(1 if self.failed else 0)
