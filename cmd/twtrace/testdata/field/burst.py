"""Opens connections to 127.0.0.1:8080 as fast as it can until it is refused, and then tries a
hundred more. It closes each one first."""
import ctypes
import socket

ctypes.CDLL(None).prctl(15, b"burst", 0, 0, 0)
opened = failed = 0
while failed < 100 and opened < 50000:
    s = socket.socket()
    try:
        s.connect(("127.0.0.1", 8080))
        s.shutdown(socket.SHUT_WR)
        s.recv(1)  # the end: then it is in TIME_WAIT
        opened += 1
    except OSError:
        failed += 1
    s.close()
print("opened", opened, "failed", failed, flush=True)
