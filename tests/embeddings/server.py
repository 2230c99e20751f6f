"""An embeddings service over a real model, with OpenAI's interface, on 127.0.0.1.

    serve [--port N] [--weights FILE] [--perturb SCALE]

Prints one line each when it is ready: `weights SHA256`, `perturbed SCALE` if it is, `listening on URL`.
"""

import argparse
import base64
import http.server
import json
import socket
import sys
import threading
import time
import urllib.parse
import uuid

import model

BODY_MAX = 1024 * 1024
DRAINED_MAX = 16 * BODY_MAX
INPUTS_MAX = 2048
TOKENS_IN_ALL_MAX = 300_000
IDLE_SECONDS = 60
MEMBERS = {"input", "model", "encoding_format", "dimensions", "user"}


class Refused(Exception):
    """A request that gets an error, in OpenAI's shape."""

    def __init__(self, message, param=None, code=None, status=400):
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def parse(body):
    """A request's texts or token ids, one list, and whether the vectors go out as base64."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused("We could not parse the JSON body of your request.") from error
    if not isinstance(asked, dict):
        raise Refused("The body of your request must be a JSON object.")
    for name in sorted(asked.keys() - MEMBERS):
        raise Refused(f"Unrecognized request argument supplied: {name}", code="unknown_parameter")
    if not isinstance(asked.get("model"), str):
        raise Refused("you must provide a model parameter", param="model")
    if asked["model"] != model.NAME:
        message = f"The model `{asked['model']}` does not exist or you do not have access to it."
        raise Refused(message, param="model", code="model_not_found", status=404)
    encoding = asked.get("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise Refused("encoding_format must be 'float' or 'base64'.", param="encoding_format")
    if asked.get("dimensions", model.WIDTH) != model.WIDTH:
        raise Refused("This model does not support specifying dimensions.", param="dimensions")
    if not isinstance(asked.get("user", ""), str):
        raise Refused("user must be a string.", param="user")
    return inputs(asked.get("input")), encoding == "base64"


def inputs(given):
    """The inputs: a text, a list of texts, a list of token ids, or a list of such lists."""
    if is_input(given):
        return [given]
    if not isinstance(given, list) or not all(map(is_input, given)) or len({type(one) for one in given}) != 1:
        raise Refused("'input' must be a string, or an array of strings, of token ids, or of arrays of token ids, none of them empty.", param="input")
    if len(given) > INPUTS_MAX:
        raise Refused(f"'input' has {len(given)} items; {INPUTS_MAX} are the most.", param="input")
    return given


def is_input(given):
    if isinstance(given, str):
        return given != ""
    return isinstance(given, list) and given != [] and all(type(token) is int for token in given)


class Embeddings:
    """What the handlers share. One text is computed at a time."""

    def __init__(self, loaded, perturbed):
        self.model, self.perturbed, self.lock = loaded, perturbed, threading.Lock()
        self.started = int(time.time())

    def tokens(self, given):
        tokens = self.model.tokens(given) if isinstance(given, str) else given
        for token in tokens:
            if not 0 <= token < model.VOCABULARY:
                raise Refused(f"{token} is not a token id of this model.", param="input")
        if len(tokens) > model.TOKENS_MAX - 2:
            message = f"This model's maximum input length is {model.TOKENS_MAX - 2} tokens, yours has {len(tokens)}."
            raise Refused(message, param="input", code="context_length_exceeded")
        return tokens

    def answer(self, body):
        texts, as_base64 = parse(body)
        tokens = [self.tokens(text) for text in texts]
        count = sum(map(len, tokens))
        if count > TOKENS_IN_ALL_MAX:
            raise Refused(f"{count} tokens in all; {TOKENS_IN_ALL_MAX} are the most.", param="input")
        with self.lock:
            vectors = [self.model.embed(ids) for ids in tokens]
        return {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": written(vector, as_base64)}
                for index, vector in enumerate(vectors)
            ],
            "model": model.NAME,
            "usage": {"prompt_tokens": count, "total_tokens": count},
        }

    def health(self):
        return {"model": model.NAME, "weights": self.model.sha256, "perturbed": self.perturbed}

    def models(self):
        only = {"id": model.NAME, "object": "model", "created": self.started, "owned_by": "sentence-transformers"}
        return {"object": "list", "data": [only]}


def written(vector, as_base64):
    if as_base64:
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(number) for number in vector]


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS

    def do_GET(self):
        shared = self.server.embeddings
        answers = {"/healthz": shared.health, "/v1/models": shared.models}
        self.dispatch(lambda path: answers[path]() if path in answers else None)

    def do_POST(self):
        answer = self.server.embeddings.answer
        self.dispatch(lambda path: answer(self.body()) if path == "/v1/embeddings" else None)

    def dispatch(self, answer):
        # Whatever is not read of a body would be taken for the next request.
        self.unread = any(name in self.headers for name in ("content-length", "transfer-encoding"))
        try:
            said = answer(urllib.parse.urlsplit(self.path).path)
            if said is None:
                raise Refused(f"Invalid URL ({self.command} {self.path})", status=404)
            self.say(200, said)
        except Refused as refused:
            self.say(refused.status, refused.body)

    def body(self):
        if self.headers.get("content-encoding", "identity") != "identity":
            raise Refused("The body of your request must not be compressed.", status=415)
        coding = self.headers.get("transfer-encoding")
        if coding is not None:
            if coding.lower() != "chunked":
                raise Refused(f"Transfer-Encoding {coding} is not known here.", status=501)
            body = self.chunks()
        else:
            length = self.headers.get("content-length", "")
            if not (length.isascii() and length.isdigit()):
                raise Refused("Your request has no Content-Length.", status=411)
            body = self.exactly(self.bounded(int(length)))
        self.unread = False
        return body

    def chunks(self):
        body = b""
        while True:
            size = self.rfile.readline(1024).split(b";")[0].strip()
            try:
                length = int(size, 16)
            except ValueError:
                raise Refused("A chunk of your request has no length.") from None
            if length == 0:
                break
            self.bounded(len(body) + length)
            body += self.exactly(length)
            self.rfile.readline(3)
        while self.rfile.readline(8192).strip():
            pass
        return body

    def bounded(self, length):
        if not 0 <= length <= BODY_MAX:
            raise Refused(f"Your request is larger than {BODY_MAX} bytes.", status=413)
        return length

    def exactly(self, length):
        read = self.rfile.read(length)
        if len(read) != length:
            raise Refused("Your request ended early.")
        return read

    def say(self, status, body):
        data = json.dumps(body, allow_nan=False).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("x-request-id", str(uuid.uuid4()))
        if self.unread:
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(data)
        if self.unread:
            self.drain()

    def drain(self):
        """Lets a caller that is still sending come to the answer: closing at once would reset the connection."""
        self.connection.shutdown(socket.SHUT_WR)
        left = DRAINED_MAX
        while left > 0 and (read := self.rfile.read1(65536)):
            left -= len(read)

    def log_message(self, *_):
        """Nothing: what people send is nobody's business."""


class Server(http.server.ThreadingHTTPServer):
    """Many connections at once, on loopback alone."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        error = sys.exception()
        if not isinstance(error, (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0, help="a free one if not given")
    parser.add_argument("--weights", default=model.WEIGHTS, metavar="FILE", help="other weights, in safetensors")
    parser.add_argument("--perturb", type=float, metavar="SCALE", help="noise on the encoder's matrices, in their standard deviations")
    given = parser.parse_args()
    try:
        loaded = model.Model(given.weights)
    except (model.BadWeights, OSError) as error:
        sys.exit(f"{given.weights}: {error}")
    if given.perturb is not None:
        loaded.tensors = model.perturb(loaded.tensors, given.perturb)
    server = Server(("127.0.0.1", given.port), Handler)
    server.embeddings = Embeddings(loaded, given.perturb)
    print(f"weights {loaded.sha256}")
    if given.perturb is not None:
        print(f"perturbed {given.perturb}")
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
