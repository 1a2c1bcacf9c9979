"""A pool of connections to a web server that keeps them for longer than the server does."""
import collections
import ctypes
import random
import socket
import threading
import time

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
seen = collections.Counter()


def name():
    ctypes.CDLL(None).prctl(15, b"loadbalancer", 0, 0, 0)


def requests():
    name()
    c = None
    while True:
        try:
            if c is None:
                c = socket.create_connection(("127.0.0.1", 3000), 2)
            c.sendall(REQUEST)
            if c.recv(4096):
                seen["ok"] += 1
            else:
                seen["failed"] += 1
                c.close()
                c = None
        except OSError:
            seen["failed"] += 1
            c.close()
            c = None
        time.sleep(random.choice([0.2, 0.3, 0.5, 2.0]))  # the last is longer than the server waits


name()
for _ in range(20):
    threading.Thread(target=requests, daemon=True).start()
while True:
    time.sleep(0.2)
    print("ok", seen["ok"], "failed", seen["failed"], flush=True)
