"""Opens connections that the server closes at once, and never closes its side."""
import ctypes
import socket
import sys
import time


def name(comm):
    ctypes.CDLL(None).prctl(15, comm, 0, 0, 0)


if sys.argv[1] == "server":
    name(b"upstream")
    listener = socket.socket()
    listener.bind(("127.0.0.1", 80))
    listener.listen(256)
    print("serves", flush=True)
    while True:
        listener.accept()[0].close()
name(b"leaker")
kept = []
while True:
    try:
        kept.append(socket.create_connection(("127.0.0.1", 80)))
    except OSError as e:
        print("errno", e.errno, "opened", len(kept), flush=True)
        time.sleep(0.1)
