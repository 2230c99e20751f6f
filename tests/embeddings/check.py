"""The model against PyTorch's vectors (reference.json), and the server against what OpenAI's clients send and expect."""

import base64
import contextlib
import hashlib
import http.client
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import urllib.request

import model
import numpy
import safetensors.numpy

HERE = pathlib.Path(__file__).resolve().parent
# PyTorch sums in another order; float32 has 24 bits. Measured: 2e-7.
TOLERANCE = 2e-6


def reference():
    """Texts, with the token ids and vectors that transformers and PyTorch make of them."""
    for case in json.loads((HERE / "reference.json").read_text())["cases"]:
        yield case["text"], case["tokens"], numpy.frombuffer(base64.b64decode(case["vector"]), dtype="<f4")


class Numbers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.model = model.Model()

    def test_the_package_holds_the_files_that_were_looked_at(self):
        self.assertEqual(self.model.sha256, model.WEIGHTS_SHA256)
        tokenizer = (model.DIRECTORY / "tokenizer.json").read_bytes()
        self.assertEqual(hashlib.sha256(tokenizer).hexdigest(), model.TOKENIZER_SHA256)

    def test_vectors_are_pytorchs(self):
        worst = 0.0
        for text, tokens, expected in reference():
            self.assertEqual(self.model.tokens(text), tokens, text)
            vector = self.model.embed(tokens)
            self.assertAlmostEqual(float(numpy.linalg.norm(vector.astype(float))), 1, places=5)
            worst = max(worst, float(numpy.abs(vector - expected).max()))
        print(f"largest difference from PyTorch: {worst:.1e}")
        self.assertLess(worst, TOLERANCE)

    def test_changed_weights_and_texts_are_far_beyond_the_tolerance(self):
        other = model.Model()
        other.tensors = model.perturb(other.tensors, 0.001)
        for text, tokens, expected in reference():
            self.assertGreater(float(numpy.abs(other.embed(tokens) - expected).max()), 20 * TOLERANCE, text)
            if len(tokens) < model.TOKENS_MAX - 2:
                longer = self.model.embed([*tokens, 1012])
                self.assertGreater(float(numpy.abs(longer - expected).max()), 20 * TOLERANCE, text)

    def test_a_file_without_the_tensors_is_refused(self):
        tensors = safetensors.numpy.load(model.WEIGHTS.read_bytes())
        name = "encoder.layer.3.output.dense.weight"
        bad = {
            "no tensor": {other: tensor for other, tensor in tensors.items() if other != name},
            "not float32 (384, 1536)": tensors | {name: tensors[name].T.copy()},
            "no number": tensors | {name: numpy.full_like(tensors[name], numpy.nan)},
        }
        for said, given in bad.items():
            with self.assertRaisesRegex(model.BadWeights, said.replace("(", r"\(").replace(")", r"\)")):
                model.parse(safetensors.numpy.save(given))
        with self.assertRaisesRegex(model.BadWeights, "not a safetensors file"):
            model.parse(b"rubbish" * 100)


@contextlib.contextmanager
def served(*arguments):
    """A server, as the lines that it printed."""
    process = subprocess.Popen([sys.executable, HERE / "server.py", *arguments], stdout=subprocess.PIPE, text=True)
    try:
        said = {}
        for line in process.stdout:
            name, value = line.strip().rsplit(" ", 1)
            said[name] = value
            if name == "listening on":
                break
        yield said
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Interface(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.said = cls.enterClassContext(served())
        cls.address = cls.said["listening on"].removeprefix("http://")
        cls.connection = cls.enterClassContext(contextlib.closing(http.client.HTTPConnection(cls.address, timeout=60)))

    def ask(self, body, path="/v1/embeddings", method="POST", **headers):
        if not isinstance(body, (bytes, type(None))):
            body = json.dumps(body).encode()
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())

    def embed(self, given, **more):
        status, said = self.ask({"model": model.NAME, "input": given} | more)
        self.assertEqual(status, 200, said)
        return said

    def test_every_form_of_input_and_output_says_the_same(self):
        text, tokens, expected = next(reference())
        single = self.embed(text)
        self.assertEqual(single["usage"], {"prompt_tokens": len(tokens), "total_tokens": len(tokens)})
        self.assertEqual((single["object"], single["model"]), ("list", model.NAME))
        vector = single["data"][0]["embedding"]
        self.assertLess(float(numpy.abs(numpy.array(vector) - expected).max()), TOLERANCE)
        for given in [text], tokens, [tokens]:
            self.assertEqual(self.embed(given), single)
        several = self.embed(["Something else.", text, text])["data"]
        self.assertEqual([one["index"] for one in several], [0, 1, 2])
        self.assertEqual(several[1]["embedding"], vector)
        self.assertEqual(several[2]["embedding"], vector)
        encoded = self.embed(text, encoding_format="base64")["data"][0]["embedding"]
        self.assertEqual(list(map(float, numpy.frombuffer(base64.b64decode(encoded), "<f4"))), vector)

    def test_a_chunked_request_is_understood(self):
        body = json.dumps({"model": model.NAME, "input": "chunks"}).encode()
        chunked = {"transfer-encoding": "chunked"}
        self.connection.request("POST", "/v1/embeddings", iter([body[:9], body[9:]]), chunked, encode_chunked=True)
        answer = self.connection.getresponse()
        self.assertEqual((answer.status, json.loads(answer.read())), (200, self.embed("chunks")))

    def test_the_digest_is_told(self):
        self.assertEqual(self.said["weights"], model.WEIGHTS_SHA256)
        health = {"model": model.NAME, "weights": model.WEIGHTS_SHA256, "perturbed": None}
        self.assertEqual(self.ask(None, "/healthz", "GET"), (200, health))
        self.assertEqual(self.ask(None, "/v1/models", "GET")[1]["data"][0]["id"], model.NAME)

    def test_bad_requests_get_openais_errors_and_the_server_goes_on(self):
        good = {"model": model.NAME, "input": "a"}
        bad = [
            (b"rubbish", 400, None, None),
            (b"[" * 100_000, 400, None, None),
            ([], 400, None, None),
            ({"input": "a"}, 400, "model", None),
            (good | {"model": "gpt-4"}, 404, "model", "model_not_found"),
            (good | {"temperature": 0}, 400, None, "unknown_parameter"),
            (good | {"encoding_format": "hex"}, 400, "encoding_format", None),
            (good | {"dimensions": 12}, 400, "dimensions", None),
            (good | {"input": "word " * 300}, 400, "input", "context_length_exceeded"),
            (b"x" * (1024 * 1024 + 1), 413, None, None),
        ]
        for given in None, "", [], [""], [[]], ["a", 1], ["a", [1]], [True], [1.5], {}, [-1], [model.VOCABULARY], ["a"] * 2049:
            bad.append((good | {"input": given}, 400, "input", None))
        for body, status, param, code in bad:
            answered, said = self.ask(body)
            error = said["error"]
            self.assertEqual((answered, error["param"], error["code"]), (status, param, code), error)
            self.assertEqual(error["type"], "invalid_request_error")
            self.assertEqual(self.ask(good)[0], 200)
        self.assertEqual(self.ask(good, "/v1/chat/completions")[0], 404)
        self.assertEqual(self.ask(None, "/v1/embeddings", "GET")[0], 404)
        self.assertEqual(self.ask(good, **{"content-encoding": "gzip"})[0], 415)


class Changed(unittest.TestCase):
    def test_other_weights_are_loaded_and_told_apart(self):
        with tempfile.TemporaryDirectory() as directory:
            file = pathlib.Path(directory) / "changed.safetensors"
            changed = model.perturb(model.Model().tensors, 0.01)
            file.write_bytes(safetensors.numpy.save(changed))
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            answers = {}
            for name, arguments in {"file": ["--weights", file], "noise": ["--perturb", "0.01"], "none": []}.items():
                with served(*arguments) as said:
                    self.assertEqual(said["weights"], digest if name == "file" else model.WEIGHTS_SHA256)
                    self.assertEqual(said.get("perturbed"), "0.01" if name == "noise" else None)
                    body = json.dumps({"model": model.NAME, "input": "a"}).encode()
                    with urllib.request.urlopen(said["listening on"] + "/v1/embeddings", body, timeout=60) as answer:
                        answers[name] = answer.read()
            self.assertEqual(answers["file"], answers["noise"])
            self.assertNotEqual(answers["file"], answers["none"])


if __name__ == "__main__":
    unittest.main()
