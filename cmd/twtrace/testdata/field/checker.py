"""Looks every second whether servers are there, and ends each connection at once by a close
or by a reset: close|reset ADDRESS:PORT..."""
import ctypes
import socket
import struct
import sys
import time

ctypes.CDLL(None).prctl(15, b"checker", 0, 0, 0)
while True:
    for at in sys.argv[2:]:
        host, port = at.rsplit(":", 1)
        s = socket.create_connection((host, int(port)))
        if sys.argv[1] == "reset":
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
    print("checked", flush=True)
    time.sleep(1)
