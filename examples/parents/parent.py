#!/usr/bin/env python3
# A parent in Python (standard library only): starts the pool server and makes one request.
#
#     parent.py [SERVER [APPLICATION_ROOT]]

import array
import os
import socket
import struct
import sys

here = os.path.dirname(os.path.abspath(__file__))
server = sys.argv[1] if len(sys.argv) > 1 else here + "/../../dist/ApplicationPoolServerExecutable"
root = os.path.abspath(sys.argv[2] if len(sys.argv) > 2 else here + "/../hello")


def receive_exactly(sock, count):
    """Never more than count bytes: reading past them would lose a descriptor that follows."""
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            sys.exit("parent.py: the server closed the connection")
        data += piece
    return data


def receive_descriptor(sock):
    """One byte, with the descriptor attached to it."""
    byte, control, _, _ = sock.recvmsg(1, socket.CMSG_SPACE(4))
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            return array.array("i", data[:4])[0]
    sys.exit("parent.py: no descriptor came")


def send_array(sock, *elements):
    """A 16-bit length, then each element followed by a NUL."""
    body = b"".join(os.fsencode(element) + b"\0" for element in elements)
    sock.sendall(struct.pack(">H", len(body)) + body)


def receive_array(sock):
    (length,) = struct.unpack(">H", receive_exactly(sock, 2))
    elements = receive_exactly(sock, length).split(b"\0")[:-1]
    return [element.decode(errors="replace") for element in elements]


# The server finds the other end of this pair as its descriptor 3.
wake, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
pid = os.fork()
if pid == 0:
    os.dup2(theirs.fileno(), 3)
    os.set_inheritable(3, True)
    # log level, spawn server, log file, Ruby, user, status FIFO
    os.execv(server, [server, "0", "builtin", "", "", "", ""])
theirs.close()

# One byte asks for one connection.
wake.sendall(b"!")
pool = socket.socket(fileno=receive_descriptor(wake))

# root, lower privileges?, the user to fall back to, environment, spawn method, type of application
send_array(pool, "get", root, "false", "nobody", "production", "smart", "auto")
reply = receive_array(pool)
if reply[0] != "ok":
    sys.exit("parent.py: " + " ".join(reply[:2]))
print(f"session {reply[2]} with process {reply[1]}")

# The session is a stream to that process: CGI headers, then the body, then the end of our side.
session = socket.socket(fileno=receive_descriptor(pool))
headers = {"REQUEST_METHOD": "GET", "REQUEST_URI": "/from/python", "PATH_INFO": "/from/python",
           "SCRIPT_NAME": "", "QUERY_STRING": "", "SERVER_NAME": "localhost", "SERVER_PORT": "80",
           "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost"}
block = b"".join(f"{name}\0{value}\0".encode() for name, value in headers.items())
session.sendall(struct.pack(">I", len(block)) + block)
session.shutdown(socket.SHUT_WR)
print(session.makefile("rb").read().decode())

# Tell the pool that the session is over, and end the server by letting go of its descriptor 3.
send_array(pool, "close", reply[2])
pool.close()
wake.close()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
