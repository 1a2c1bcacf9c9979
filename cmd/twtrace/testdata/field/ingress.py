"""A server that cannot start, because PORT is taken, and tries again."""
import ctypes
import socket
import sys
import time

ctypes.CDLL(None).prctl(15, b"ingress", 0, 0, 0)
while True:
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind(("0.0.0.0", int(sys.argv[1])))
        s.listen(8)
        print("bound", flush=True)
    except OSError as e:
        print("errno", e.errno, flush=True)
    s.close()
    time.sleep(0.5)
