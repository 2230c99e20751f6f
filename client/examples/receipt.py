"""The receipt of an exchange: fetched from the proxy, and verified by the `counterfoil` program."""

import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

PROXY = os.environ.get("COUNTERFOIL_PROXY", "http://127.0.0.1:8431")
LOG = os.environ.get("COUNTERFOIL_LOG", "dev")


def fetch(exchange, credential):
    """What the proxy has of an exchange, for the credential that it was made with: id, bundle, openings, claim key."""
    request = urllib.request.Request(f"{PROXY}/counterfoil/v1/exchanges/{exchange}", headers=credential)
    for _ in range(300):
        with urllib.request.urlopen(request) as answer:
            found = json.load(answer)
        if found["bundle"]:
            return found
        # The exchange is over, and its receipt on its way into the log.
        time.sleep(0.1)
    sys.exit("the receipt is not in the log yet; it can be fetched later")


def verify(headers, credential, text):
    """Verifies the receipt of the answer that came with these headers, and that it is the receipt of this text."""
    found = fetch(headers["Counterfoil-Exchange"], credential)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="receipt."))
    for name in ("bundle", "openings", "claim"):
        (folder / f"{found['id']}.{name}.json").write_text(json.dumps(found[name]), encoding="utf-8")
    bundle, openings = (folder / f"{found['id']}.{name}.json" for name in ("bundle", "openings"))
    subprocess.run(["counterfoil", "verify", bundle, "--log", LOG, "--openings", openings], check=True)
    # The opening holds each choice after its length in four bytes; verify has held it against the receipt.
    opened = base64.b64decode(found["openings"]["openings"]["text"]["value"])
    if opened[4:].decode() != text:
        sys.exit("the receipt is of another text")
    print(f"the receipt is of this text; all files are in {folder}\n")
