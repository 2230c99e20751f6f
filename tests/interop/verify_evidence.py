#!/usr/bin/env python3
"""Checks fork evidence (fork-evidence/v1, text or JSON) against a public key, with Python's standard library alone.
Usage: verify_evidence.py FILE (--log-key | --witness-key) VKEY
Exit 0: proven, the key's owner signed two histories of one log. 1: not proven. 2: could not tell (usage, no such file).
The format is described in merkle/src/evidence/text.rs; this shares no code with it."""
import base64, hashlib, json, re, sys

NOTE_MAX, LINES_MAX, HASHES_MAX, TREE_MAX, TEXT_MAX = 128 * 1024, 64, 41, 2**40, 272 * 1024
LOG, WITNESS = 1, 4  # signature algorithms of C2SP signed-note

def demand(holds, what):
    if not holds:
        raise ValueError(what)

# --- Ed25519 (RFC 8032), strict: no weak key, no R of small order, no S above the group's order
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P

def add(p, q):  # points are (X, Y, Z, T)
    a, b = (p[1] - p[0]) * (q[1] - q[0]), (p[1] + p[0]) * (q[1] + q[0])
    c, d = 2 * p[3] * q[3] * D, 2 * p[2] * q[2]
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P

def times(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result

def decompress(data):
    y, sign = int.from_bytes(data, "little") % 2**255 % P, data[31] >> 7
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square else x * pow(2, (P - 1) // 4, P) % P
    demand(x * x % P == square, "not a point of the curve")
    x = P - x if x % 2 != sign else x
    return x, y, 1, x * y % P

def compress(p):
    x, y = (v * pow(p[2], -1, P) % P for v in p[:2])
    return (y | (x & 1) << 255).to_bytes(32, "little")

def is_weak(p):  # of small order
    return compress(times(8, p)) == (1).to_bytes(32, "little")

BASE = decompress((4 * pow(5, -1, P) % P).to_bytes(32, "little"))

def is_signed(public, message, signature):
    s, (x, y, z, t) = int.from_bytes(signature[32:], "little"), decompress(public)
    if len(signature) != 64 or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    r = add(times(s, BASE), times(k, (P - x, y, z, P - t)))
    return compress(r) == signature[:32] and not is_weak(r)

# --- Merkle trees (RFC 6962)
def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()

def both_roots(m, n, frontier, right):
    """Roots of the first m leaves and of all n, 0 < m <= n; consumes the hashes."""
    if m == n and m & (m - 1) == 0:
        return 2 * (frontier.pop(0),)
    k = 1 << (n - 1).bit_length() - 1  # the largest power of two below n
    if m <= k:
        old, new = both_roots(m, k, frontier, right)
        return old, node(new, right.pop(0))
    left = frontier.pop(0)
    old, new = both_roots(m - k, n - k, frontier, right)
    return node(left, old), node(left, new)

def root_of_path(index, n, leaf, path):
    if n == 1:
        return leaf
    k = 1 << (n - 1).bit_length() - 1  # the largest power of two below n
    if index < k:
        return node(root_of_path(index, k, leaf, path), path.pop(0))
    inner = root_of_path(index - k, n - k, leaf, path)
    return node(path.pop(0), inner)

# --- notes, checkpoints, keys (C2SP signed-note, tlog-checkpoint, tlog-cosignature)
def unbase64(text, length=None):
    data = base64.b64decode(text, validate=True)
    demand(base64.b64encode(data).decode() == text and length in (None, len(data)), "base64")
    return data

def is_name(name):
    return 0 < len(name.encode()) < 256 and not re.search(r"[\s+\x00-\x20\x7f-\x9f]", name)

def key_of(vkey, algorithm):
    name, key_id, material = vkey.split("+", 2)
    material = unbase64(material)
    demand(is_name(name) and len(material) == 33 and material[0] == algorithm, "not a key for this")
    demand(hashlib.sha256(name.encode() + b"\n" + material).hexdigest()[:8] == key_id, "the key's id is wrong")
    demand(not is_weak(decompress(material[1:])), "a weak key")
    return name, bytes.fromhex(key_id), material[1:], algorithm

def head_of(note, key):
    """Origin, size and root of a checkpoint that has at least one good line of this key."""
    name, key_id, public, algorithm = key
    demand(len(note.encode()) <= NOTE_MAX and "\n\n" in note and note.endswith("\n"), "note")
    text, lines = note[: note.rindex("\n\n") + 1], note[note.rindex("\n\n") + 2 : -1].split("\n")
    demand(not re.search(r"[\x00-\x09\x0b-\x1f]", text) and len(lines) <= LINES_MAX, "note")
    good, message = False, text.encode()
    for line in lines:
        dash, signer, data = line.split(" ")
        data = unbase64(data)
        demand(dash == "\u2014" and is_name(signer) and len(data) > 4, "signature line")
        if (signer, data[:4]) == (name, key_id) and algorithm == LOG:
            good = good or is_signed(public, message, data[4:])
        elif (signer, data[:4]) == (name, key_id) and data[4] < 128:  # the time has 63 bits
            time = b"cosignature/v1\ntime %d\n" % int.from_bytes(data[4:12], "big")
            good = good or is_signed(public, time + message, data[12:])
    demand(good, f"not signed by {name}")
    origin, size, root, *extensions = text[:-1].split("\n")
    demand(0 < len(origin.encode()) < 256 and not re.search(r"[\x7f-\x9f]", origin) and all(extensions), "checkpoint")
    demand(algorithm == WITNESS or origin == name, "another log's checkpoint")
    demand(re.fullmatch("0|[1-9][0-9]{0,12}", size) and int(size) <= TREE_MAX, "size")
    demand(size != "0" or unbase64(root, 32) == hashlib.sha256().digest(), "root")
    return origin, int(size), unbase64(root, 32)

# --- the two forms; JSON has the names, text has them with a space for the underscore
MEMBERS = {"same-size": (), "consistency": ("frontier", "right"), "index": ("index", "leaf_a", "path_a", "leaf_b", "path_b")}

def to_text(e):
    text = f"{e['format']}\nkind {e['kind']}\norigin {e['origin']}\n"
    text += "".join(f"note {name} {len(e[name].encode())}\n{e[name]}" for name in "ab")
    for name in MEMBERS[e["kind"]]:
        lines = [str(len(e[name])), *e[name]] if isinstance(e[name], list) else [str(e[name])]
        text += name.replace("_", " ") + " " + "\n".join(lines) + "\n"
    return text + f"sha256 {hashlib.sha256(text.encode()).hexdigest()}\n"

def from_text(text):
    data = text.encode()
    def line(prefix):
        nonlocal data
        found, data = data.split(b"\n", 1)
        demand(found.startswith(prefix.encode()), f"{prefix!r} is missing")
        return found[len(prefix.encode()) :].decode()
    e = {"format": line(""), "kind": line("kind "), "origin": line("origin ")}
    for name in "ab":
        length = int(line(f"note {name} ")[:7])
        e[name], data = data[:length].decode(), data[length:]
    for name in MEMBERS[e["kind"]]:
        value = line(name.replace("_", " ") + " ")
        e[name] = int(value) if name == "index" else value
        if not name.startswith(("index", "leaf")):
            e[name] = [line("") for _ in range(min(int(value), HASHES_MAX + 1))]
    return e | {"sha256": line("sha256 ")}

def prove(text, key):
    """Raises unless text is evidence that the key's owner signed two histories."""
    is_json = text.startswith("{")
    demand(len(text.encode()) <= TEXT_MAX * (1 + is_json), "too long")
    e = json.loads(text) if is_json else from_text(text)
    members = MEMBERS[e["kind"]]
    names = ["format", "kind", "origin", "a", "b", *members, "sha256"]
    demand(list(e) == names and e["format"] == "fork-evidence/v1", "format or members")
    one_form = json.dumps(e, separators=(",", ":"), ensure_ascii=False) + "\n" if is_json else to_text(e)
    demand(one_form == text and to_text(e).endswith(f"\nsha256 {e['sha256']}\n"), "damaged, or not in its one form")
    (origin, m, a), (other, n, b) = head_of(e["a"], key), head_of(e["b"], key)
    demand(origin == other == e["origin"] and (m, e["a"].encode()) <= (n, e["b"].encode()), "two logs, or misplaced notes")
    values = [[unbase64(item, 32) for item in e[name]] if isinstance(e[name], list) else e[name] for name in members]
    if e["kind"] == "same-size":
        demand(m == n and a != b, "the two checkpoints are consistent, or of two sizes")
    elif e["kind"] == "consistency":
        demand(0 < m < n, "sizes")
        old, new = both_roots(m, n, *values)
        demand(not any(values) and new == b and old != a, "the hashes prove nothing")
    else:
        index, leaf_a, path_a, leaf_b, path_b = values
        demand(type(index) is int and 0 <= index < m and leaf_a != leaf_b, "the leaves are the same")
        demand(root_of_path(index, m, unbase64(leaf_a, 32), path_a) == a and not path_a, "leaf a is not proven")
        demand(root_of_path(index, n, unbase64(leaf_b, 32), path_b) == b and not path_b, "leaf b is not proven")

def is_proven(data, key):
    """Whether the bytes are such evidence, and if not, why."""
    try:
        prove(data.decode(), key)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        return False, repr(error)
    return True, f"{key[0]} signed two histories, and both cannot be true"

def main(arguments):
    try:
        file, option, vkey = arguments
        key = key_of(vkey, {"--log-key": LOG, "--witness-key": WITNESS}[option])
        with open(file, "rb") as opened:
            proven, why = is_proven(opened.read(2 * TEXT_MAX + 1), key)
    except (OSError, ValueError, LookupError) as error:
        print(f"could not tell: {error!r}\n{__doc__}", file=sys.stderr)
        return 2
    print(f"{'fork' if proven else 'not'} proven: {why}")
    return 1 - proven

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
