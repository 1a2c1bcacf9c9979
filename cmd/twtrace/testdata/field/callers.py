"""A client: ADDRESS PORT RATE, and how each connection ends: close or reset."""
import ctypes
import socket
import struct
import sys
import time

ctypes.CDLL(None).prctl(15, b"caller", 0, 0, 0)
n = 0
while True:
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    s.sendall(b"x")
    time.sleep(0.01)
    if sys.argv[4] == "reset":
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
    n += 1
    print("connected", n, flush=True)
    time.sleep(1 / float(sys.argv[3]))
