"""A preloader that does as little as one can, and misbehaves as its first argument says."""

import os
import signal
import socket
import struct
import sys
import time

how = sys.argv[1] if len(sys.argv) > 1 else ""
control = socket.socket(fileno=4)


def message(*elements):
    payload = b"".join(element.encode() + b"\0" for element in elements)
    return struct.pack(">H", len(payload)) + payload


def read(length):
    data = b""
    while len(data) < length:
        piece = control.recv(length - len(data))
        if not piece:
            os._exit(0)
        data += piece
    return data


def descriptor():
    _, control_data, _, _ = control.recvmsg(1, socket.CMSG_SPACE(4))
    return struct.unpack("i", control_data[0][2][:4])[0]


def refuse(send):
    page = b"NoLuckError: no luck today"
    send(message("error_page") + struct.pack(">I", len(page)) + page)
    os._exit(1)


def serve(listener, lifeline, output):
    os.setpgid(0, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(listener, 13)
    os.dup2(lifeline, 14)
    os.dup2(13, 3)
    os.dup2(14, 4)
    os.closerange(5, 64)
    if how == "exit-in-child":
        signal.sigwait({signal.SIGUSR1})
        os._exit(7)
    os.write(1, b"a line of %d\n" % os.getpid())
    if how == "buries first":
        refuse(lambda data: os.write(4, data))
    os.write(4, message("ready", "1"))
    if how == "linger":
        if os.fork() == 0:
            os.close(3)
            os.close(4)
            time.sleep(60)
    os.read(4, 1)
    os._exit(0)


if how == "fail":
    refuse(control.sendall)
if how == "hang":
    time.sleep(60)
if how == "exit-in-child":  # Once it is told to: then it is known to have been seen alive.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})


def name_children():
    """Forks children and names each as an instance, which nobody has asked for."""
    children = []
    for fork in range(1000):
        child = os.fork()
        if child == 0:
            os.close(4)
            time.sleep(60)
        children.append(child)
        try:
            control.sendall(message("forked", str(fork), str(child)))
        except OSError:  # We are found out.
            break
    for child in children:
        os.kill(child, 9)


if how == "helper":
    child = os.fork()
    if child == 0:
        os.close(4)
        time.sleep(60)
    print(child, flush=True)
print("loaded", flush=True)
control.sendall(message("ready", "1"))
children = set()
control.settimeout(0.02)
while True:
    try:
        length = struct.unpack(">H", read(2))[0]
    except TimeoutError:
        while children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            children.discard(pid)
            code = os.waitstatus_to_exitcode(status)
            control.sendall(message("exited", str(pid), str(code)))
        continue
    control.settimeout(None)
    _, fork, _ = read(length).decode().split("\0")
    ends = [descriptor() for _ in range(3)]
    if how == "die":
        os._exit(3)
    if how == "garbage":
        control.sendall(message("forked", fork, "many"))
    elif how == "mute":
        pass
    elif how == "refuse":
        control.sendall(message("fork_failed", fork, "no memory today"))
    else:
        child = os.fork()
        if child == 0:
            serve(*ends)
        children.add(child)
        if how == "buries first":
            os.waitpid(child, 0)
            children.clear()
        control.sendall(message("forked", fork, str(child)))
        if how == "names children":
            name_children()
        if how == "repeats":
            control.sendall(message("forked", fork, str(child)))
        if how == "refuses late":
            control.sendall(message("fork_failed", fork, "no"))
        if how == "ready again":
            control.sendall(message("ready", "1"))
        if how == "buries many":
            control.sendall(message("exited", "4711", "0") * 2)
        if how == "says too much":
            control.sendall(b"\xff\xff" + b"x" * 65535)
    for end in ends:
        os.close(end)
    control.settimeout(0.02)
