"""A client that happens to have a certain local port, PORT, and closes it when it reads a line."""
import ctypes
import socket
import struct
import sys

ctypes.CDLL(None).prctl(15, b"apiserver", 0, 0, 0)
spare = []
while True:
    s = socket.socket()
    s.connect(("127.0.0.1", 2379))
    if s.getsockname()[1] == int(sys.argv[1]):
        break
    spare.append(s)
for x in spare:  # nothing stays of them
    x.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    x.close()
print("has it", flush=True)
sys.stdin.readline()
s.close()
print("closed", flush=True)
sys.stdin.readline()
