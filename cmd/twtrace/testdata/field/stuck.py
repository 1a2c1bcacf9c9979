"""NAME ADDRESS PORT [RATE]: "billing-api" accepts connections and never closes its side, "report-api"
accepts none, with a backlog of 8, and any other opens RATE connections a second and closes them."""
import ctypes
import socket
import sys
import time

name, at = sys.argv[1], (sys.argv[2], int(sys.argv[3]))
ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)
kept = []
if name in ("billing-api", "report-api"):
    listener = socket.socket()
    listener.bind(at)
    listener.listen(8 if name == "report-api" else 256)
    print("serves", flush=True)
    while name == "report-api":
        time.sleep(1000)
    while True:
        kept.append(listener.accept())
due = time.time()
while True:
    s = socket.socket()
    s.settimeout(0.01)
    try:
        s.connect(at)
        s.close()
        print("closed", flush=True)
    except OSError:  # nobody has answered yet: it goes on waiting
        kept.append(s)
        print("waits", flush=True)
    due = max(due + 1 / float(sys.argv[4]), time.time() - 0.5)  # what is very late is not made up for
    time.sleep(max(0, due - time.time()))
