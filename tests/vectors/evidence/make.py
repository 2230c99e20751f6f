#!/usr/bin/env python3
"""Makes the evidence vectors beside it and cases.json: fork-evidence/v1 with fixed keys, good and bad, by code that shares
nothing with the project. Needs `cryptography`. Ed25519 seeds are SHA-256('counterfoil test key ' + name)."""
import base64, hashlib, json, os
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives import serialization as ser

os.chdir(os.path.dirname(os.path.abspath(__file__)))
H = lambda data: hashlib.sha256(data).digest()
b64 = lambda data: base64.b64encode(data).decode()
L = 2**252 + 27742317777372353535851937790883648493


class Key:
    def __init__(self, name, algorithm, secret=None):
        self.name, self.algorithm, self.seed = name, algorithm, H(b"counterfoil test key " + (secret or name).encode())
        self.private = ed25519.Ed25519PrivateKey.from_private_bytes(self.seed)
        self.public = self.private.public_key().public_bytes(ser.Encoding.Raw, ser.PublicFormat.Raw)
        self.id = H(name.encode() + b"\n" + bytes([algorithm]) + self.public)[:4]

    def vkey(self):
        return f"{self.name}+{self.id.hex()}+{b64(bytes([self.algorithm]) + self.public)}"

    def line(self, signature):
        return f"\u2014 {self.name} {b64(self.id + signature)}\n"

    def sign(self, text, time=1763712345):
        if self.algorithm == 1:
            return self.line(self.private.sign(text.encode()))
        stamp = time.to_bytes(8, "big")
        return self.line(stamp + self.private.sign(b"cosignature/v1\ntime %d\n" % time + text.encode()))


# --- trees
node = lambda left, right: H(b"\1" + left + right)
split = lambda n: 1 << (n - 1).bit_length() - 1


def root(leaves):
    if not leaves:
        return H(b"")
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return node(root(leaves[:k]), root(leaves[k:]))


def path(i, leaves):
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    return path(i, leaves[:k]) + [root(leaves[k:])] if i < k else path(i - k, leaves[k:]) + [root(leaves[:k])]


def frontier(leaves):
    if not leaves:
        return []
    k = 1 << len(leaves).bit_length() - 1
    return [root(leaves[:k])] + frontier(leaves[k:])


def right(m, leaves):
    """What lies right of the first m leaves, innermost first."""
    if m == len(leaves):
        return []
    if m == 0:
        return [root(leaves)]
    k = split(len(leaves))
    return right(m, leaves[:k]) + [root(leaves[k:])] if m <= k else right(m - k, leaves[k:])


def history(n, fork=10**9):
    return [H(b"\0leaf %d%s" % (i, b"" if i < fork else b" of the other history")) for i in range(n)]


# --- notes and evidence
LOG = Key("log.example/2026", 1, "log")
CLOCK = Key("log.example/2026/clock", 4, "clock")
WITNESSES = [Key(f"witness.example/w{n}", 4) for n in (1, 2, 3)]
ODD = Key('log.example/"quoted"\\and\u00fc', 1, "odd")
NAMED = {"log": LOG, "odd": ODD, "impostor": Key(LOG.name, 1, "impostor"), "clock": CLOCK,
         **{f"w{n + 1}": key for n, key in enumerate(WITNESSES)}, "log-as-witness": Key(LOG.name, 4, "log")}


def text_of(leaves, origin=LOG.name, extensions=""):
    return f"{origin}\n{len(leaves)}\n{b64(root(leaves))}\n{extensions}"


def note(leaves, signers=(LOG, CLOCK), **more):
    text = text_of(leaves, **more)
    return text + "\n" + "".join(signer.sign(text) for signer in signers)


def digested(body):
    return f"{body}sha256 {H(body.encode()).hex()}\n"


def body(kind, a, b, rest="", origin=LOG.name):
    text = f"fork-evidence/v1\nkind {kind}\norigin {origin}\n"
    return text + "".join(f"note {name} {len(note.encode())}\n{note}" for name, note in (("a", a), ("b", b))) + rest


def hashes(name, items):
    return "\n".join([f"{name} {len(items)}"] + [b64(item) for item in items]) + "\n"


def same_size(a, b, **more):
    return digested(body("same-size", *sorted((a, b), key=str.encode), **more))


def growth(m, leaves):
    return hashes("frontier", frontier(leaves[:m])) + hashes("right", right(m, leaves))


def consistency(a, b, m, leaves, **more):
    return digested(body("consistency", a, b, growth(m, leaves), **more))


def in_leaves(i, a, b, of_a=None, of_b=None):
    of_a, of_b = of_a or (a[i], path(i, a)), of_b or (b[i], path(i, b))
    text = f"index {i}\n"
    for name, (leaf, siblings) in (("a", of_a), ("b", of_b)):
        text += f"leaf {name} {b64(leaf)}\n" + hashes(f"path {name}", siblings)
    return text


def index(i, a, b, rest=None, **more):
    """Evidence of two leaves, `a` being the smaller tree."""
    return digested(body("index", note(a, **more), note(b, **more), rest or in_leaves(i, a, b)))


def as_json(evidence):
    lines = evidence.encode()
    def next_line():
        nonlocal lines
        line, lines = lines.split(b"\n", 1)
        return line.decode()
    value = {"format": next_line(), "kind": next_line()[5:], "origin": next_line()[7:]}
    for name in "ab":
        length = int(next_line()[7:])
        value[name], lines = lines[:length].decode(), lines[length:]
    while lines:
        label, _, rest = next_line().rpartition(" ")
        name = label.replace(" ", "_")
        value[name] = rest
        if name == "index":
            value[name] = int(rest)
        elif name in ("frontier", "right", "path_a", "path_b"):
            value[name] = [next_line() for _ in range(int(rest))]
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False) + "\n"


CASES = []


def case(name, evidence, proven, why, key="log", form="txt"):
    file = f"{name}.{form}"
    if not any(known["file"] == file for known in CASES):
        with open(file, "w", newline="", encoding="utf-8") as out:
            out.write(evidence)
    CASES.append({"file": file, "key": key, "proven": proven, "why": why})


def good(name, evidence, why, key="log"):
    case(name, evidence, True, why, key)
    case(name, as_json(evidence), True, why, key, "json")


def bad(name, evidence, why, key="log"):
    assert all(known["file"] != f"{name}.txt" for known in CASES), name
    case(name, evidence, False, why, key)


A, B = history(9), history(9, 4)
FIVE, FOUR = history(5), history(4, 2)
SAME = same_size(note(A), note(B))
GROWN = consistency(note(FIVE), note(B), 5, B)
INDEX = index(4, FIVE, B)


def make_good():
    good("same-size", SAME, "one size, two roots")
    good("consistency", GROWN, "the tree of size 9 had another root at size 5")
    power = history(9, 2)
    good("consistency-power-of-two", consistency(note(history(4)), note(power), 4, power),
         "another root at size 4, which a consistency proof would leave out")
    big = history(300, 256)
    good("consistency-far", consistency(note(history(257)), note(big), 257, big), "the last of 257 leaves differs")
    one = history(2, 0)
    good("consistency-smallest", consistency(note(history(1)), note(one), 1, one), "sizes 1 and 2")
    good("index", INDEX, "different leaves at index 4 of 5 and of 9")
    good("index-equal-sizes", digested(body("index", *sorted((note(A), note(B)), key=str.encode),
         in_leaves(7, *((A, B) if note(A).encode() < note(B).encode() else (B, A))))), "different leaves at index 7 of 9")
    first, other = history(1), history(1, 0)
    pair = sorted((first, other), key=lambda leaves: note(leaves).encode())
    good("index-smallest", digested(body("index", *(note(leaves) for leaves in pair), in_leaves(0, *pair))), "two trees of one leaf")
    w1, w2, w3 = WITNESSES
    split_view = consistency(note(FIVE, (LOG, CLOCK, w1, w3)), note(B, (LOG, CLOCK, w2, w3)), 5, B)
    good("two-witnesses", split_view, "each history has a witness of its own")
    for key, proven in (("w3", True), ("clock", True), ("w1", False), ("w2", False), ("log-as-witness", False)):
        case("two-witnesses", "", proven, f"{key} cosigned {'both' if proven else 'not both'}", key)
    odd = lambda leaves, **more: note(leaves, (ODD,), origin=ODD.name, **more)
    good("odd-origin", same_size(odd(A), odd(B), origin=ODD.name), "an origin that JSON has to escape", "odd")
    good("extensions", same_size(note(A, extensions="one\n\u00b2\n"), note(B)), "extension lines are kept")
    spoiled = note(B) + LOG.line(bytes(64))
    good("second-line-bad", same_size(note(A), spoiled), "a good line beside a bad one of the same key")
    no_log = same_size(note(A, (w1,)), note(B, (w1,)))
    case("cosigned-only", no_log, True, "a witness is held to what it cosigned", "w1")
    case("cosigned-only", "", False, "the log signed neither", "log")


def make_unproven():
    bad("same-root", same_size(note(A), note(A, (LOG,))), "the same size and root")
    bad("consistent", consistency(note(FIVE), note(A), 5, A), "the tree grew by appending")
    bad("same-leaf", index(3, FIVE, B), "the same leaf in both")
    bad("rubbish", consistency(note(FIVE), note(A), 5, B), "the hashes do not lead to the larger root")
    bad("other-size", digested(body("consistency", note(FIVE), note(B), growth(6, B))), "hashes for size 6, notes of 5 and 9")
    bad("from-nothing", digested(body("consistency", note([]), note(B), growth(0, B))), "every tree starts with the empty one")
    equal = sorted((note(A), note(B)), key=str.encode)
    bad("consistency-equal-sizes", digested(body("consistency", *equal, growth(9, A))), "a growth between equal sizes")
    bad("same-size-two-sizes", digested(body("same-size", note(FIVE), note(B))), "sizes 5 and 9")
    bad("more-frontier", digested(body("consistency", note(FIVE), note(B), hashes("frontier", frontier(B[:5]) + [H(b"")]) + hashes("right", right(5, B)))), "a hash too many")
    bad("less-right", digested(body("consistency", note(FIVE), note(B), hashes("frontier", frontier(B[:5])) + hashes("right", right(5, B)[:-1]))), "a hash too few")
    bad("many-hashes", digested(body("consistency", note(FIVE), note(B), hashes("frontier", 42 * [H(b"")]) + hashes("right", right(5, B)))), "more hashes than any proof has")
    bad("leaf-unproven", index(4, FIVE, B, in_leaves(4, FIVE, B, (H(b"x"), path(4, FIVE)))), "a leaf that is not in the tree")
    bad("leaf-longer-path", index(4, FIVE, B, in_leaves(4, FIVE, B, (FIVE[4], path(4, FIVE) + [H(b"")]))), "a path with a hash too many")
    bad("leaf-node", index(0, FIVE, B, in_leaves(0, FIVE, B, (node(*FIVE[:2]), path(0, FIVE)[1:]))), "an inner node posing as a leaf")
    bad("index-outside", index(5, FIVE, B, in_leaves(5, FIVE, B, (FIVE[4], path(4, FIVE)))), "index 5 of 5")
    bad("index-huge", digested(body("index", note(FIVE), note(B), in_leaves(4, FIVE, B).replace("index 4", f"index {2**64}"))), "an index above any")


def make_unsigned():
    impostor = NAMED["impostor"]
    bad("other-key", same_size(note(A), note(B, (impostor,))), "the second note is signed by another key of that name")
    case("same-size", "", False, "another key of that name", "impostor")
    case("same-size", "", False, "another log's key", "odd")
    posing = text_of(B) + "\n" + LOG.line(impostor.private.sign(text_of(B).encode()))
    bad("forged", same_size(note(A), posing), "another key's signature under the log's name and id")
    bad("unsigned", same_size(note(A), note(B, (CLOCK,))), "the log did not sign the second note")
    bad("cosignature-as-log", same_size(note(A), text_of(B) + "\n" + LOG.line(base64.b64decode(NAMED["log-as-witness"].sign(text_of(B)).split(" ")[2])[12:])), "a cosignature posing as the log's signature")
    other = Key("log.example/2025", 1, "log")
    bad("other-origin", same_size(note(A), note(B, (other,), origin=other.name)), "the same secret signed another log's checkpoint")
    case("other-origin", "", False, "the same secret signed another log's checkpoint", "odd")
    w1 = WITNESSES[0]
    case("witness-of-two-logs", same_size(note(A, (w1,)), note(B, (w1,), origin=other.name)), False, "cosigned checkpoints of two logs", "w1")
    late = text_of(B) + "\n" + w1.sign(text_of(B), 2**63)
    case("time-beyond", same_size(note(A, (w1,)), late), False, "a cosignature's time has 63 bits", "w1")
    # S + L is the same number to a careless verifier; with R of small order anybody who has the key can sign twice.
    honest = LOG.private.sign(text_of(B).encode())
    raised = honest[:32] + (int.from_bytes(honest[32:], "little") + L).to_bytes(32, "little")
    bad("malleable", same_size(note(A), text_of(B) + "\n" + LOG.line(raised)), "S above the group's order")
    digest = hashlib.sha512(LOG.seed).digest()
    secret = int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254
    small = (1).to_bytes(32, "little")
    k = int.from_bytes(hashlib.sha512(small + LOG.public + text_of(B).encode()).digest(), "little")
    weak = small + (k * secret % L).to_bytes(32, "little")
    bad("small-order", same_size(note(A), text_of(B) + "\n" + LOG.line(weak)), "R of small order")


def make_malformed():
    content = SAME[: SAME.rindex("sha256")]
    bad("digest-wrong", content + "sha256 " + "0" * 64 + "\n", "the digest is of something else")
    bad("digest-upper-case", content + "sha256 " + H(content.encode()).hex().upper() + "\n", "hex in upper case")
    bad("digest-missing", content, "no digest")
    bad("unended", SAME[:-1], "the last line is not ended")
    bad("trailing", SAME + "\n", "a line too many")
    bad("twice", SAME + SAME, "two pieces of evidence")
    bad("crlf", digested(content.replace("\n", "\r\n")), "lines end with CR LF")
    bad("byte-order-mark", "\ufeff" + SAME, "a byte order mark")
    bad("empty", "", "nothing")
    bad("version", digested(content.replace("/v1", "/v2")), "another version")
    bad("kind-unknown", digested(content.replace("same-size", "other")), "a kind that is none")
    bad("origin-line", digested(content.replace("origin log", "origin lag")), "the origin line says another origin")
    bad("swapped", digested(body("same-size", *sorted((note(A), note(B)), key=str.encode, reverse=True))), "the notes in the wrong order")
    bad("swapped-sizes", digested(body("index", note(B), note(FIVE), in_leaves(4, B, FIVE))), "the larger tree first")
    bad("length-zeros", digested(content.replace("note a ", "note a 0")), "a leading zero")
    bad("length-sign", digested(content.replace("note a ", "note a +")), "a sign before a number")
    short = len(sorted((note(A), note(B)), key=str.encode)[0].encode())
    bad("length-short", digested(content.replace(f"note a {short}", f"note a {short - 1}")), "a note is cut off")
    padded = b64(root(B)).replace("=", "")
    stray = padded[:-1] + "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"["ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".index(padded[-1]) + 1] + "="
    text = f"{LOG.name}\n9\n{stray}\n"
    bad("root-base64", same_size(note(A), text + "\n" + LOG.sign(text)), "stray bits after the root")
    for name, size in (("size-zeros", "09"), ("size-sign", "+9"), ("size-huge", str(2**40 + 1))):
        text = f"{LOG.name}\n{size}\n{b64(root(B))}\n"
        bad(name, same_size(note(A), text + "\n" + LOG.sign(text)), f"a size written {size}")
    text = f"{LOG.name}\n0\n{b64(root(B))}\n"
    bad("size-nothing", same_size(note([]), text + "\n" + LOG.sign(text)), "a root for nothing")
    text = text_of(B) + "\n"
    bad("empty-extension", same_size(note(A), text + "\n" + LOG.sign(text)), "an empty extension line")
    bad("many-signatures", same_size(note(A), note(B) + 63 * CLOCK.sign(text_of(B))), "65 signature lines")
    bad("bad-line", same_size(note(A), note(B) + "\u2014 nobody !\n"), "a signature line that is none")
    lines = as_json(SAME)
    for name, changed, why in (
        ("json-spaced", lines.replace(",", ", "), "white space"),
        ("json-unended", lines[:-1], "the line is not ended"),
        ("json-escaped", lines.replace("\u2014", "\\u2014"), "a character escaped without need"),
        ("json-order", json.dumps(dict(sorted(json.loads(lines).items())), separators=(",", ":"), ensure_ascii=False) + "\n", "members in another order"),
        ("json-twice", lines.replace('{"format"', '{"format":"","format"'), "a member twice"),
        ("json-more", lines.replace('{"format"', '{"more":1,"format"'), "a member too many"),
        ("json-digest", lines.replace(json.loads(lines)["sha256"], "0" * 64), "the digest is of something else"),
        ("json-index", as_json(INDEX).replace('"index":4', '"index":4.0'), "an index that is no integer"),
        ("json-null", as_json(INDEX).replace('"index":4', '"index":null'), "no index"),
        ("json-list", "[" + lines[:-1] + "]\n", "a list"),
        ("json-surrogate", lines.replace("\\n9\\n", "\\ud800\\n9\\n"), "half a character"),
    ):
        case(name, changed, False, why, form="json")


for file in os.listdir("."):
    if file.endswith((".txt", ".json")):
        os.remove(file)
for make in (make_good, make_unproven, make_unsigned, make_malformed):
    make()
about = "Fork evidence with fixed keys. Each case: which file, judged with which key, and whether it is proven."
keys = {name: key.vkey() for name, key in NAMED.items()}
with open("cases.json", "w", encoding="utf-8") as out:
    json.dump({"about": about, "keys": keys, "cases": CASES}, out, indent=1, ensure_ascii=False)
    out.write("\n")
print(len(CASES), "cases")
