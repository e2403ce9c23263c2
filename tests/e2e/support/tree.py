#!/usr/bin/python3
"""Make a tree with every oddity a volume may hold, and compare two trees.

    tree.py make-tree DIR [--seed N] [--small]
    tree.py compare A B [--ignore-sockets]

This is the judge of the end-to-end tests, so it shares nothing with Ferry: Python's standard
library and system calls only. Both need root.
"""

import argparse
import os
import sys

if __package__ in (None, ""):
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from support import tree_compare, tree_make  # noqa: E402


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make-tree", help="fill DIR (made if absent, must be empty)")
    make.add_argument("directory")
    make.add_argument("--seed", type=int, default=1, help="the same seed makes an equal tree")
    make.add_argument("--small", action="store_true", help="every kind of entry, but little data")
    compare = commands.add_parser("compare", help="exit 1 and one line for each difference")
    compare.add_argument("a")
    compare.add_argument("b")
    compare.add_argument("--ignore-sockets", action="store_true",
                         help="sockets in A need not be in B (Ferry skips them); one in B is a difference")
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse(arguments)
    if options.command == "make-tree":
        tree_make.make_tree(options.directory, seed=options.seed, small=options.small)
        return 0
    result = tree_compare.compare(options.a, options.b, ignore_sockets=options.ignore_sockets)
    for difference in result.differences:
        print(difference)
    if result.differences:
        print(f"{len(result.differences)} differences, {result.entries} entries compared")
        return 1
    print(f"{result.entries} entries equal")
    return 0


if __name__ == "__main__":
    sys.exit(main())
