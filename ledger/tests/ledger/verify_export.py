#!/usr/bin/env python3
"""Verifies an exported log without any of our code: SHA-256 from the standard library, Ed25519 written out (RFC 8032).

usage: verify_export.py EXPORT LOG-ID     exit status 0 and a sentence, or 1 and what is wrong
"""
import base64, hashlib, json, sys

P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def recover_x(y, sign):
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if x2 == 0:
        return None if sign else 0
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * ROOT % P
    if (x * x - x2) % P:
        return None
    return P - x if (x & 1) != sign else x


def decompress(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    x = recover_x(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


def add(a, b):
    m, n = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = n - m, d - c, d + c, n + m
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def times(s, point):
    total = (0, 1, 1, 0)
    while s:
        if s & 1:
            total = add(total, point)
        point, s = add(point, point), s >> 1
    return total


def ed25519_verifies(key, message, signature):
    a, r = decompress(key), decompress(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= Q or len(signature) != 64:
        return False
    base_y = 4 * pow(5, P - 2, P) % P
    base_x = recover_x(base_y, 0)
    base = (base_x, base_y, 1, base_x * base_y % P)
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % Q
    left, right = times(s, base), add(r, times(h, a))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def node(left, right):
    return sha(b"\x01", left, right)


def refuse(why):
    sys.exit(f"refused: {why}")


def leaf_of(e):
    commitment = sha(bytes.fromhex(e["salt"]), e["body"].encode())
    parts = [
        b"selvedge-entry-v1", e["seq"].to_bytes(8, "big"), (e["run"] or "").encode(), bytes.fromhex(e["previous"]),
        e["kind"].encode(), e["version"].to_bytes(4, "big"), e["at"].to_bytes(8, "big"), bytes([e["clock_back"]]),
        e["actor"].encode(), (e["owner"] or "").encode(), commitment,
    ]
    return sha(b"\x00", *(len(p).to_bytes(8, "big") + p for p in parts))


def checkpoint(head, log):
    key = bytes.fromhex(head["public_key"])
    if log != "selvedge-" + sha(key).hex()[:32]:
        refuse("the key is not the log's")
    text, signatures = head["checkpoint"].split("\n\n")
    text += "\n"
    origin, size, root = text.splitlines()
    key_id = sha(origin.encode(), b"\n\x01", key)[:4]
    good = False
    for line in signatures.splitlines():
        dash, name, blob = line.split(" ")
        blob = base64.b64decode(blob)
        good |= name == origin and blob[:4] == key_id and ed25519_verifies(key, text.encode(), blob[4:])
    if origin != log or not good:
        refuse("the checkpoint is not signed by the log")
    return int(size), base64.b64decode(root)


def climb(index, size, value, path):
    at, last = index, size - 1
    for sibling in path:
        if at & 1 or at == last:
            value = node(sibling, value)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            value = node(value, sibling)
        at, last = at >> 1, last >> 1
    return value if last == 0 else None


def main(path, log):
    with open(path, encoding="utf-8") as lines:
        head = json.loads(next(lines))
        size, root = checkpoint(head, log)
        peaks, chains, count, before = [], {}, 0, -1
        for line in lines:
            e = json.loads(line)
            leaf = leaf_of(e)
            if leaf.hex() != e["leaf"] or e["seq"] <= before:
                refuse(f"entry {e['seq']} is not the one that was appended")
            if e["previous"] != chains.get(e["run"], "00" * 32):
                refuse(f"entry {e['seq']} does not follow the one before it in its run")
            chains[e["run"]], before, count = leaf.hex(), e["seq"], count + 1
            if head["run"] is not None:
                path = [bytes.fromhex(h) for h in e["path"]]
                if e["run"] != head["run"] or climb(e["seq"], size, leaf, path) != root:
                    refuse(f"entry {e['seq']} is not in the log")
            level = 0
            while peaks and peaks[-1][0] == level:
                leaf, level = node(peaks.pop()[1], leaf), level + 1
            peaks.append((level, leaf))
    if count != head["entries"]:
        refuse(f"{count} entries of {head['entries']}")
    if head["run"] is None:
        whole = peaks.pop()[1] if peaks else sha(b"")
        while peaks:
            whole = node(peaks.pop()[1], whole)
        if count != size or whole != root:
            refuse("the entries are not the ones that were signed")
    print(f"verified {count} entries of {log} at size {size}")


main(sys.argv[1], sys.argv[2])
