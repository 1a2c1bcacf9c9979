"""A transparent proxy: it accepts connections to other addresses, and closes when their
clients have."""
import ctypes
import socket
import threading

ctypes.CDLL(None).prctl(15, b"proxy", 0, 0, 0)


def handle(c):
    while c.recv(100):
        pass
    c.close()


s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.SOL_IP, 19, 1)  # IP_TRANSPARENT
s.bind(("127.0.0.1", 9999))
s.listen(128)
print("serves", flush=True)
while True:
    c, _ = s.accept()
    threading.Thread(target=handle, args=(c,), daemon=True).start()
