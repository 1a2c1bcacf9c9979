"""A client that opens connections and closes them: NAME PORT RATE, and with "ends" behind
them it ends when it is refused."""
import ctypes
import socket
import sys
import time

name, port, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)
opened = failed = 0
due = time.time()
while True:
    s = socket.socket()
    try:
        s.connect(("127.0.0.1", port))
        s.sendall(b"x")
        opened += 1
    except OSError as e:
        failed += 1
        print("errno", e.errno, "opened", opened, "failed", failed, flush=True)
        if "ends" in sys.argv:
            sys.exit()
    s.close()
    due = max(due + 1 / rate, time.time() - 0.5)  # what is very late is not made up for
    time.sleep(max(0, due - time.time()))
