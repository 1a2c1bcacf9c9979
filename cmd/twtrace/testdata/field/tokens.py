"""Forty threads that connect to one address and give up after 2 s."""
import ctypes
import random
import socket
import threading
import time

opened = timeouts = 0


def one():
    global opened, timeouts
    ctypes.CDLL(None).prctl(15, b"token-client", 0, 0, 0)
    while True:
        s = socket.socket()
        s.settimeout(2)
        try:
            s.connect(("203.0.113.10", 443))
            opened += 1
            time.sleep(5)
        except OSError:
            timeouts += 1
        s.close()
        time.sleep(random.random())


ctypes.CDLL(None).prctl(15, b"token-client", 0, 0, 0)
for _ in range(40):
    threading.Thread(target=one, daemon=True).start()
while True:
    time.sleep(0.2)
    print("opened", opened, "timeouts", timeouts, flush=True)
