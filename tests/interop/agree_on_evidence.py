#!/usr/bin/env python3
"""Has `counterfoil verify-evidence` and verify_evidence.py judge the same files, and wants one verdict of both.

    agree_on_evidence.py COUNTERFOIL [FILE VKEY]...

Without files: every case of ../vectors/evidence, which also says what the verdict has to be. Of evidence that is proven,
copies with one bit changed, some thirty of each, have to be refused by both.
"""
import json, os, random, subprocess, sys, tempfile

import verify_evidence

FLIPS = 30
VECTORS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors", "evidence")


def option_of(vkey):
    return "--witness-key" if verify_evidence.unbase64(vkey.split("+", 2)[2])[0] == verify_evidence.WITNESS else "--log-key"


def verdicts(counterfoil, path, vkey):
    """The two exit codes: the CLI's, and the one that verify_evidence.py ends with."""
    arguments = [path, option_of(vkey), vkey]
    rust = subprocess.run([counterfoil, "verify-evidence", *arguments], stdout=subprocess.DEVNULL).returncode
    with open(os.devnull, "w") as nowhere:
        sys.stdout, kept = nowhere, sys.stdout
        try:
            return rust, verify_evidence.main(arguments)
        finally:
            sys.stdout = kept


def check(counterfoil, path, vkey, expected, flips):
    found = verdicts(counterfoil, path, vkey)
    if found != (expected, expected):
        sys.exit(f"{path}, {vkey}: counterfoil says {found[0]}, verify_evidence.py {found[1]}, {expected} is right")
    if expected != 0:
        return 0
    with open(path, "rb") as file:
        data = file.read()
    places = flips.sample(range(8 * len(data)), FLIPS)
    with tempfile.TemporaryDirectory() as folder:
        changed = os.path.join(folder, "changed")
        for bit in places:
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            with open(changed, "wb") as file:
                file.write(flipped)
            found = verdicts(counterfoil, changed, vkey)
            if found != (1, 1):
                sys.exit(f"{path} with bit {bit} changed: counterfoil says {found[0]}, verify_evidence.py {found[1]}")
    return len(places)


def main():
    counterfoil, *given = sys.argv[1:]
    flips = random.Random(len(given))
    todo = [(path, vkey, 0) for path, vkey in zip(given[::2], given[1::2])]
    if not given:
        with open(os.path.join(VECTORS, "cases.json")) as file:
            cases = json.load(file)
        for case in cases["cases"]:
            expected = 0 if case["proven"] else 1
            todo.append((os.path.join(VECTORS, case["file"]), cases["keys"][case["key"]], expected))
    changed = sum(check(counterfoil, *one, flips) for one in todo)
    weak = "weak+" + verify_evidence.hashlib.sha256(b"weak\n\x01\x01" + bytes(31)).hexdigest()[:8]
    weak += "+" + verify_evidence.base64.b64encode(b"\x01\x01" + bytes(31)).decode()
    for arguments in ([os.path.join(VECTORS, "none"), todo[0][1]], [todo[0][0], "no key"], [todo[0][0], weak]):
        rust = subprocess.run([counterfoil, "verify-evidence", arguments[0], "--log-key", arguments[1]], capture_output=True)
        python = subprocess.run([sys.executable, verify_evidence.__file__, arguments[0], "--log-key", arguments[1]], capture_output=True)
        if (rust.returncode, python.returncode) != (2, 2):
            sys.exit(f"{arguments}: {rust}, {python}, where 2 is right")
    print(f"ok: evidence: two verifiers agree on {len(todo)} cases, and refuse {changed} copies with a bit changed")


if __name__ == "__main__":
    main()
