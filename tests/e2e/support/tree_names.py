"""Names that break quoting, sorting, decoding, or a program's own temporary names."""

import os

NAMES = [
    b"new\nline", b"\n", b"trailing newline\n", b" leading space", b"trailing space ", b"   ", b"tab\there",
    b"'single'", b'"double"', b"`back`", b"$HOME", b"$(id)", b"back\\slash", b"back\\nslash", b"\\", b"\\000",
    b"-leading-dash", b"--help", b"-", b"*", b"?", b"[a-z]", b"{a,b}", b"~", b"#hash#", b"a;b", b"a&b", b"a|b",
    b"<>", b"a:b", b"C:", b"%2e%2e%2f", b"%00", b"a=b,c=d", b"@", b"!", b"...", b"..a", b".a", b"....", b". ",
    b"\x01\x02\x1b[31m\x7f", b"\r", b"\r\n", b"\xff", b"\xfe\xff", b"\x80", b"\xc3\x28", b"\xed\xa0\x80", b"\xf5\x80",
    "\u00e9".encode(), "e\u0301".encode(), "\u202egnp".encode(), "\U0001f6a2".encode(), "\u2028".encode(),
    b"Case", b"case", b"CASE", b"n" * 255, b"\xff" * 255, ("\u00e9" * 127).encode() + b"x",
    b".wh.foo", b".wh..wh..opq", b".wh..wh.plnk", b".ferry", b".ferry-staging", b".tmp", b"tmp", b"staging",
    b"data", b"record.json", b"manifest", b"journal", b"lost+found", b"trash", b".nfs0001", b"core", b"con", b"nul",
    b"file.tmp", b"file.partial", b"file~", b".file.swp", b"0", b"null", b"true", b"{}", b"[]",
]

# Sorted as paths, "a/x" comes after "a-b" and "a.b"; sorted as names, "a" comes before both. A
# manifest that mixes the two orders loses or refuses entries.
ORDER = [b"a", b"a b", b"a!", b"a-b", b"a.b", b"a0", b"aa", b"a\x01", b"a\xff"]


def build(builder):
    place = builder.directory("names")
    for name in NAMES:
        builder.file(os.path.join(place, name), b"named " + name)
    directories = builder.directory("names-of-directories")
    for name in NAMES:
        inner = os.path.join(directories, name)
        os.mkdir(inner)
        builder.file(os.path.join(inner, name), b"inside " + name)
    order = builder.directory("order")
    for number, name in enumerate(ORDER):
        inner = os.path.join(order, name)
        if number % 2 == 0:
            os.mkdir(inner)
            for child in ORDER:
                builder.file(os.path.join(inner, child), child)
        else:
            builder.file(inner, name)
    # The same names at the volume's root, next to where a receiver may keep its own files.
    for name in (b".ferry", b".tmp", b"record.json", b"data", b"staging", b"...", b"\xff", b"-rf"):
        builder.file(os.path.join(builder.root, name), b"at the root: " + name)
