#!/usr/bin/env python3
"""A second reading of a ledger, from spec/ledger.md and spec/entry.md alone: Python's standard library, and openssl for the signature and AES.

    python3 verify.py <ledger directory> [<verifier key of the log>] [--keys <folder>]

Checks the checkpoint, every bundle and tile under it, the root, and every payload record against its entry and its commitments.
Without a key, the one that the ledger's first entry names is used: whoever rewrote all of it could have put another one in.
Keys that follow from it by their endorsements count, too.
Encrypted segments are opened with the keys in <folder>, by default ~/.config/sworn/<ledger id>; without them their content is not checked.
Exit status: 0 holds, 1 tampered, 3 cannot conclude. Rules between entries are left to `sworn verify`.
"""
import base64, hashlib, json, pathlib, re, struct, subprocess, sys, tempfile, zlib

class Tampered(Exception): pass
class Unknown(Exception): pass

def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()

def root_of(hashes):
    """RFC 6962: pairs from the left, an odd last one goes up unchanged."""
    if not hashes:
        return sha()
    while len(hashes) > 1:
        pairs = [sha(b"\x01", hashes[i], hashes[i + 1]) for i in range(0, len(hashes) - 1, 2)]
        hashes = pairs + hashes[len(pairs) * 2:]
    return hashes[0]

def need(condition, message, error=Tampered):
    if not condition:
        raise error(message)

def read(path, error=Unknown):
    try:
        return path.read_bytes()
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror}")

def b64(text):
    try:
        value = base64.b64decode(text, validate=True)
    except ValueError:
        raise Tampered(f"not base64: {text[:20]}")
    need(base64.b64encode(value).decode() == text, f"not base64: {text[:20]}")
    return value

def tile_path(log, level, n, width):
    parts = [f"{n % 1000:03}"]
    while (n := n // 1000) > 0:
        parts.insert(0, f"x{n % 1000:03}")
    path = log / "tile" / str(level)
    full = path.joinpath(*parts)
    partial = full.with_name(full.name + ".p") / str(width)
    # a live ledger may have put the full file in place of the partial one
    return partial if width < 256 and not full.exists() else full

def checkpoint_of(log):
    note = read(log / "checkpoint").decode()
    text, _, lines = note.rpartition("\n\n")
    match = re.fullmatch(r"([^\n]+)\n(0|[1-9][0-9]{0,15})\n([A-Za-z0-9+/=]+)", text)
    need(match and lines.endswith("\n"), "the checkpoint is not origin, size, root and signatures", Unknown)
    origin, size, root = match[1], int(match[2]), b64(match[3])
    need(len(root) == 32 and size > 0, "the checkpoint covers nothing", Unknown)
    return text + "\n", origin, size, root, lines

def verifier_key(vkey, origin):
    """Id and Ed25519 key of a verifier key."""
    name, key_id, key = vkey.split("+", 2)
    typed = b64(key)
    need(name == origin and typed[0] == 1 and len(typed) == 33, "the key is not one of this log")
    need(sha(name.encode(), b"\n", typed)[:4].hex() == key_id, "the key's id does not belong to it")
    return key_id, typed[1:]

def is_signed(key, text, signature):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        # SubjectPublicKeyInfo of Ed25519, RFC 8410
        (folder / "key").write_bytes(bytes.fromhex("302a300506032b6570032100") + key)
        (folder / "text").write_bytes(text.encode())
        (folder / "signature").write_bytes(signature)
        command = "openssl pkeyutl -verify -rawin -pubin -keyform DER -inkey key -in text -sigfile signature"
        return subprocess.run(command.split(), cwd=folder, capture_output=True).returncode == 0

def keys_behind(vkey, origin, changes):
    """The key that is known, and those that follow from it: each is endorsed by one before."""
    known = [vkey]
    for change in changes:
        previous, following = change["previous"], change["vkey"]
        if previous not in known:
            continue
        text = f"sworn key endorsement v1\n{origin}\n{previous}\n{following}\n"
        if is_signed(verifier_key(previous, origin)[1], text, b64(change["endorsement"])):
            known.append(following)
    return known

def check_signature(text, origin, lines, vkeys):
    signed = [b64(line.split(" ")[2]) for line in lines.splitlines() if line.startswith(f"\u2014 {origin} ")]
    ours = [(key, value[4:]) for key_id, key in (verifier_key(vkey, origin) for vkey in vkeys) for value in signed if value[:4].hex() == key_id]
    need(ours, "the checkpoint has no signature by this key, and by none that follows from it")
    for key, signature in ours:
        need(is_signed(key, text, signature), "the signature on the checkpoint does not hold")

def pruned_of(log, size):
    """The newest entry that says what is pruned, where the first bundle is gone; None where it is there."""
    if size <= 256 or tile_path(log, "entries", 0, 256).exists():
        return None
    for n in range((size + 255) // 256 - 1, -1, -1):
        path, at, found = tile_path(log, "entries", n, min(256, size - n * 256)), 0, None
        bundle = path.read_bytes() if path.exists() else b""
        for _ in range(min(256, size - n * 256)):
            length = int.from_bytes(bundle[at:at + 2], "big")
            leaf, at = bundle[at + 2:at + 2 + length], at + 2 + length
            found = leaf if leaf.startswith(b'{"v":1,"kind":"prune"') else found
        if found:
            entry = json.loads(found)
            need(entry["end"] % 256 == 0 and 0 < entry["end"] < size, "an entry prunes what no checkpoint covers")
            return entry
    return None

def leaves_of(log, size, first):
    leaves = []
    for n in range(first // 256, (size + 255) // 256):
        width = min(256, size - n * 256)
        bundle, at = read(tile_path(log, "entries", n, width)), 0
        while at < len(bundle) and first + len(leaves) < n * 256 + width:
            length = int.from_bytes(bundle[at:at + 2], "big")
            leaf = bundle[at + 2:at + 2 + length]
            need(at + 2 + length <= len(bundle), f"bundle {n} ends inside entry {first + len(leaves)}")
            leaves.append(leaf)
            at += 2 + length
        need(first + len(leaves) == n * 256 + width, f"bundle {n} has too few entries")
    return leaves

def check_tiles(log, leaves, first):
    """Each tile of each level; a partial one goes no level up. Of pruned entries the lowest tiles have the hashes. Returns the root over all leaves."""
    pruned = b"".join(read(tile_path(log, 0, n, 256)) for n in range(first // 256))
    need(len(pruned) == first * 32, "a tile of pruned entries has another length")
    hashes = leaf_hashes = [pruned[at:at + 32] for at in range(0, len(pruned), 32)] + [sha(b"\0", leaf) for leaf in leaves]
    level = 0
    while hashes:
        for n in range((len(hashes) + 255) // 256):
            tile = hashes[n * 256:n * 256 + 256]
            stored = read(tile_path(log, level, n, len(tile)))
            for k, expected in enumerate(tile):
                index = (n * 256 + k) * 256 ** level
                need(stored[k * 32:k * 32 + 32] == expected, f"tile {level}/{n} does not follow from the entries, entry {index}")
        hashes = [root_of(hashes[n * 256:n * 256 + 256]) for n in range(len(hashes) // 256)]
        level += 1
    return root_of(leaf_hashes)

def openssl(command, data):
    done = subprocess.run(["openssl", "enc"] + command.split(), input=data, capture_output=True)
    need(done.returncode == 0, "openssl does not open it", Unknown)
    return done.stdout

def key_of(folder, first, key_id):
    """The key of an encrypted segment, or why there is none. openssl gets keys as arguments, which other accounts of this machine can see."""
    path = folder / "segment-keys"
    try:
        lines = [line.split(" ", 3) for line in path.read_text().splitlines()]
        own = next((line for line in lines if line[0] == "SEGMENT" and int(line[1]) == first and line[2] == key_id), None)
        if own is None:
            return f"{path} has no key for it"
        wrapping_id, wrapped = own[3].split(" ")
        found = next(line for line in lines if line[0] in ("FILE", "COMMAND") and line[1] == wrapping_id)
        if found[0] == "FILE":
            wrapping = bytes.fromhex(pathlib.Path(" ".join(found[2:])).read_text().strip())
        else:
            words = json.loads(found[3])["unwrap"]
            asked = subprocess.run(words, input=b64(found[2]), capture_output=True, timeout=30, check=True)
            wrapping = b64(asked.stdout.decode().strip())
        check = lambda key: sha(b"sworn payload key\n", key)[:4].hex()
        if check(wrapping) != wrapping_id:
            return f"the wrapping key {wrapping_id} is another one"
        key = openssl(f"-d -id-aes256-wrap -K {wrapping.hex()} -iv A6A6A6A6A6A6A6A6", b64(wrapped))
        return key if check(key) == key_id else "what is there for it is another key"
    except (OSError, subprocess.SubprocessError, StopIteration, ValueError, KeyError, Unknown) as problem:
        return f"its key cannot be had: {problem}"

def opened(bodies, key):
    """Bodies in the clear: the keystream of all of them in one go, since counter mode is the encryption of counters."""
    ends = [13 + struct.unpack_from(">I", body, 9)[0] if body[0] == 1 else 26 for body in bodies]
    counters = bytearray()
    for body, end in zip(bodies, ends):
        need(len(body) >= end + 12, "a record is too short to be encrypted")
        nonce = body[end:end + 12]
        counters += b"".join(nonce + struct.pack(">I", n) for n in range((len(body) - end - 12 + 15) // 16))
    stream, at = openssl(f"-aes-256-ecb -nopad -K {key.hex()}", bytes(counters)), 0
    for body, end in zip(bodies, ends):
        hidden = body[end + 12:]
        plain = int.from_bytes(hidden, "big") ^ int.from_bytes(stream[at:at + len(hidden)], "big")
        yield body[:end] + plain.to_bytes(len(hidden), "big")
        at += (len(hidden) + 15) // 16 * 16

def records_of(payload, ledger_id, keys, unopened):
    """(segment, offset, body, whether it is in the clear) of each record. Names of segments that cannot be opened, and why, go into `unopened`."""
    names = sorted(path for path in payload.iterdir() if re.fullmatch(r"[0-9]{16}", path.name)) if payload.is_dir() else []
    for path in names:
        data = read(path)
        encrypted = data[:8] == b"SWORNPE1"
        magic, key_id = (b"SWORNPE1", data[32:36]) if encrypted else (b"SWORNPL1", bytes(4))
        header = struct.pack(">8s16sQ", magic, bytes.fromhex(ledger_id), int(path.name)) + key_id
        need(data[:40] == header + struct.pack(">I", zlib.crc32(header)), f"{path.name} has another header")
        key = key_of(keys, int(path.name), key_id.hex()) if encrypted else None
        if isinstance(key, str):
            unopened[path.name] = key
        at, found = 40, []
        while at < len(data):
            length, crc = int.from_bytes(data[at:at + 4], "big"), int.from_bytes(data[at + 4:at + 8], "big")
            body = data[at + 8:at + 8 + length]
            if len(body) < length and path == names[-1]:
                break  # it is being written, or a crash cut it off; a missing record is found by its index
            need(len(body) == length > 0 and zlib.crc32(body) == crc, f"{path.name} is damaged at byte {at}")
            if body[0] != 4:
                found.append((at, body))
            need(body[0] != 4 or not (found or any(body[1:])), "what is in the place of pruned records is not all zero bytes, or not at the beginning")
            at += 8 + length
        bodies = [body for _, body in found]
        for (at, _), body in zip(found, opened(bodies, key) if isinstance(key, bytes) else bodies):
            yield int(path.name), at, body, not isinstance(key, str)

def items_of(body, at, count, parts):
    """(d_i, length) of each item, and the offset behind them."""
    items = []
    for _ in range(count):
        kind, at = body[at], at + 1
        if kind == 0:
            salt, (length,) = body[at:at + 16], struct.unpack_from(">I", body, at + 16)
            items.append((sha(b"\x02", salt, body[at + 20:at + 20 + length]), length))
            need(not any(body[at + 20 + length:at + 20 + max(length, 16)]), "a kept segment is not filled up with zero bytes")
            at += 20 + max(length, 16)
        else:
            need(kind <= 3, f"an item of kind {kind}")
            digest, (length,) = body[at:at + 32], struct.unpack_from(">I", body, at + 32)
            at += 36
            if kind == 2:
                part = parts.pop(struct.unpack_from(">QQ", body, at), None)
                need(part is not None, "a part that an entry refers to is not there")
                # an erased part has only its length left
                need(part[1] == length and part[0] in (None, digest), "a part is not the one that its entry names")
                at += 16
            elif kind == 3:
                need(not any(body[at:at + max(length, 16) - 16]), "an erased segment is not all zero bytes")
                at += max(length, 16) - 16
            items.append((digest, length))
    return items, at

def check_payload(payload, ledger_id, leaves, first, keys):
    """Names of segments that could not be opened, and why: of their records only the entries were compared."""
    parts, index, size, unopened = {}, first, first + len(leaves), {}
    for segment, offset, body, clear in records_of(payload, ledger_id, keys, unopened):
        if body[0] == 1 and struct.unpack_from(">Q", body, 1)[0] < first:
            continue  # stated to be pruned, and not yet gone
        if body[0] in (2, 3):
            if not clear:
                parts[segment, offset] = (None, len(body) - 54)
                continue
            need(body[0] == 2 or not any(body[26:]), "an erased part is not all zero bytes")
            parts[segment, offset] = (sha(b"\x02", body[26:]) if body[0] == 2 else None, len(body) - 42)
            continue
        need(body[0] == 1 and struct.unpack_from(">Q", body, 1)[0] == index, f"the record of entry {index} is not where it belongs")
        if index >= size:
            return unopened  # later records are not signed yet
        end = 13 + struct.unpack_from(">I", body, 9)[0]
        leaf = body[13:end]
        need(leaf == leaves[index - first], f"entry {index} in the payload is not the one in the log")
        if not clear:
            index += 1
            continue
        attribute_count, segment_count = struct.unpack_from(">HI", body, end)
        attributes, at = items_of(body, end + 6, attribute_count, parts)
        segments, at = items_of(body, at, segment_count, parts)
        need(at == len(body), f"the record of entry {index} does not end where it should")
        entry = json.loads(leaf)
        for items, count, commitment in (
            (attributes, entry.get("attributes", 0), entry.get("attributesCommitment")),
            (segments, entry.get("segments", 0), entry.get("commitment")),
        ):
            need(len(items) == count, f"entry {index} has another count of segments")
            made = base64.b64encode(root_of([digest for digest, _ in items])).decode() if items else None
            need(made == commitment, f"the content of entry {index} does not match its commitment")
        if segments:
            need(sum(length for _, length in segments) == entry["sizeBytes"], f"the frame of entry {index} has another length")
        index += 1
    need(index == size, f"the content of the entries from {index} on is not there", Unknown)
    return unopened

def main(folder, vkey=None, keys=None):
    log = pathlib.Path(folder) / "log"
    text, origin, size, root, lines = checkpoint_of(log)
    pruned = pruned_of(log, size)
    first = pruned["end"] if pruned else 0
    leaves = leaves_of(log, size, first)
    start = pruned or json.loads(leaves[0])
    need(pruned or (start["kind"] == "start" and start["origin"] == origin), "the first entry starts another ledger")
    need(not pruned or json.dumps(pruned) in (json.dumps(json.loads(leaf)) for leaf in leaves if b'"kind":"prune"' in leaf), "no entry says what is pruned")
    changes = (pruned["keys"] if pruned else []) + [
        entry for entry in (json.loads(leaf) for leaf in leaves if b'"kind":"key"' in leaf) if entry["kind"] == "key" and entry["act"] == "rotate"
    ]
    check_signature(text, origin, lines, keys_behind(vkey or start["vkey"], origin, changes))
    need(check_tiles(log, leaves, first) == root, "the entries do not have the root that was signed")
    ledger = origin.rpartition("/")[2]
    keys = pathlib.Path(keys) if keys else pathlib.Path.home() / ".config" / "sworn" / ledger
    unopened = check_payload(pathlib.Path(folder) / "payload", ledger, leaves, first, keys)
    if pruned:
        print(f"entries 0 to {first - 1} are pruned: their hashes hold, their text is gone")
    for name, why in unopened.items():
        need(False, f"{size} entries hold, but the content of {len(unopened)} encrypted segment(s) was not checked; {name}: {why}", Unknown)
    print(f"{size} entries hold" + ("" if vkey else "; the key was taken from the ledger itself"))

if __name__ == "__main__":
    words = sys.argv[1:]
    at = words.index("--keys") if "--keys" in words else len(words)
    keys = words[at + 1:at + 2]
    del words[at:at + 2]
    if len(words) not in (1, 2):
        sys.exit(__doc__)
    try:
        main(words[0], words[1] if len(words) > 1 else None, *keys)
    except Unknown as problem:
        print(f"CANNOT CONCLUDE: {problem}")
        sys.exit(3)
    except (Tampered, ValueError, KeyError, TypeError, IndexError, struct.error, RecursionError) as problem:
        print(f"TAMPERED: {problem}")
        sys.exit(1)
