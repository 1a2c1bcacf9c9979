"""A client of "localhost": ::1 first, though IPv6 is off, then 127.0.0.1. It keeps a few
connections. Beside that it binds an address that is not of this host."""
import collections
import ctypes
import socket
import time

ctypes.CDLL(None).prctl(15, b"pooler", 0, 0, 0)
seen = collections.Counter()
kept = []
while True:
    for family, address in ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1")):
        s = socket.socket(family)
        try:
            s.connect((address, 6432))
            kept.append(s)
            seen["connected " + address] += 1
            break
        except OSError as e:
            seen["%s errno %d" % (address, e.errno)] += 1
            s.close()
    if len(kept) > 5:
        kept.pop(0).close()
    s = socket.socket()
    try:
        s.bind(("192.0.2.9", 0))
    except OSError as e:
        seen["bind errno %d" % e.errno] += 1
    s.close()
    print(dict(seen), flush=True)
    time.sleep(0.25)
