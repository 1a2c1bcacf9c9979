"""A peer that listens on port 3001 and dials from it: NAME listen, or NAME dial ADDRESS HOLD.

With "dial-only" for "dial" it leaves listening to another process."""
import ctypes
import socket
import sys
import threading
import time

PORT = 3001


def name():
    ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)


def on_port():
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind(("0.0.0.0", PORT))
    return s


def handle(c):
    name()
    while c.recv(100):
        pass
    c.close()


def accept(listener):
    name()
    while True:
        c, _ = listener.accept()
        print("accepted", flush=True)
        threading.Thread(target=handle, args=(c,), daemon=True).start()


name()
if sys.argv[2] != "dial-only":
    listener = on_port()
    listener.listen(8)
    threading.Thread(target=accept, args=(listener,), daemon=True).start()
    print("serves", flush=True)
while sys.argv[2] == "listen":
    time.sleep(100)
while True:
    s = on_port()
    try:
        s.connect((sys.argv[3], PORT))
        print("connected", flush=True)
        s.sendall(b"x")
        time.sleep(float(sys.argv[4]))
        s.close()
        print("closed", flush=True)
    except OSError as e:
        print("errno", e.errno, flush=True)
        s.close()
    time.sleep(0.5)
