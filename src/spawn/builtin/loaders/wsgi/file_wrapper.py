"""wsgi.file_wrapper (PEP 3333, Optional Platform-Specific File Handling).

A file of the kernel's is sent with sendfile(2): its bytes never become ours. Everything else that
is like a file is read in blocks.
"""
import io
import os
import stat


class FileWrapper:
    """An iterable over the blocks of a file-like object."""

    def __init__(self, filelike, block_size=65_536):
        self.filelike = filelike
        self.block_size = block_size
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self):
        return self

    def __next__(self):
        block = self.filelike.read(self.block_size)
        if not block:
            raise StopIteration
        return block

    def region(self):
        """(descriptor, offset, bytes) of what is left to read; None if sendfile cannot send it."""
        file = getattr(self.filelike, "file", self.filelike)  # What tempfile wraps.
        # What has a fileno() need not be that file: a GzipFile's is the compressed one.
        raw = file.raw if isinstance(file, (io.BufferedReader, io.BufferedRandom)) else file
        if not isinstance(raw, io.FileIO):
            return None
        try:
            facts = os.fstat(raw.fileno())
            offset = file.tell()
        except (OSError, ValueError):
            return None
        # Files of /proc say that they are empty.
        length = facts.st_size - offset
        is_sendable = stat.S_ISREG(facts.st_mode) and length > 0
        return (raw.fileno(), offset, length) if is_sendable else None
