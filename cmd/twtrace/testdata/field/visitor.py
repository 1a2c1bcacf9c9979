"""Asks a web server at ADDRESS:80 for pages, RATE times a second, and prints the status of each answer."""
import ctypes
import socket
import sys
import time

ctypes.CDLL(None).prctl(15, b"visitor", 0, 0, 0)
due = time.time()
while True:
    try:
        s = socket.create_connection((sys.argv[1], 80), 5)
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        print("status", s.recv(100).split()[1].decode(), flush=True)
        s.close()
    except OSError as e:
        print("errno", e.errno, flush=True)
    due = max(due + 1 / float(sys.argv[2]), time.time() - 0.5)  # what is very late is not made up for
    time.sleep(max(0, due - time.time()))
