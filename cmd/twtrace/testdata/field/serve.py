"""A server: NAME ADDRESS:PORT...

It reads what its clients send, and closes when they have."""
import ctypes
import selectors
import socket
import sys

ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)  # PR_SET_NAME
events = selectors.DefaultSelector()
for at in sys.argv[2:]:
    host, port = at.rsplit(":", 1)
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((host, int(port)))
    s.listen(4096)
    events.register(s, selectors.EVENT_READ, "listens")
print("serves", flush=True)
while True:
    for key, _ in events.select():
        s = key.fileobj
        if key.data == "listens":
            events.register(s.accept()[0], selectors.EVENT_READ)
            continue
        try:
            more = s.recv(4096)
        except ConnectionError:
            more = b""
        if not more:
            events.unregister(s)
            s.close()
