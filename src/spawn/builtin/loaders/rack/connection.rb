# One connection of a client: bytes in and out, and the head of the next request. What has been read
# too far stays here for whoever reads next.
# frozen_string_literal: true

module RackLoader
  # The client left; no fault of the application's.
  class ClientGone < IOError; end

  # The request breaks the protocol or is no HTTP: answered with 400.
  class BadRequest < StandardError; end

  class Connection
    MAX_HEAD_BYTES = 128 * 1024
    READ_BYTES = 16 * 1024

    # When a connection that is only being emptied is closed; nil: it is in use.
    attr_accessor :closes_at
    # Whether a request was answered on it and the next may come.
    attr_accessor :kept

    attr_reader :socket
    alias to_io socket

    def initialize(socket)
      @socket = socket
      @buffer = String.new(capacity: READ_BYTES)
      @closes_at = nil
      @kept = false
      @is_given_away = false
    end

    # Takes in what has arrived. Returns the payload of the head once it is whole, nil until then,
    # and :end when the client has left before. Raises BadRequest.
    def head
      has_ended = !whole_head? && receive == :end
      return take_head if whole_head?

      has_ended ? :end : nil
    end

    # Up to `max` bytes, as soon as there are some; nil at the client's end.
    def read(max)
      return take(max) unless @buffer.empty?

      @socket.readpartial(max)
    rescue EOFError
      nil
    rescue Errno::ECONNRESET
      raise ClientGone, "the client is gone"
    end

    # The same without waiting: nil when there is nothing, :end at the end.
    def read_now(max)
      return take(max) unless @buffer.empty?

      bytes = @socket.read_nonblock(max, exception: false)
      bytes.nil? ? :end : (bytes unless bytes == :wait_readable)
    rescue Errno::ECONNRESET, IOError
      :end
    end

    # Gives back bytes that were read too far.
    def unread(bytes)
      @buffer = bytes + @buffer unless bytes.empty?
    end

    # Whether so many bytes are there without reading.
    def holds?(bytes)
      @buffer.bytesize >= bytes
    end

    def buffered?
      !@buffer.empty?
    end

    # Writes it all, in one system call where that does.
    def write(*parts)
      if parts.length == 1
        data = parts[0]
        written = @socket.write_nonblock(data, exception: false)
        return if written == data.bytesize

        parts = [written == :wait_writable ? data : data.byteslice(written..-1)]
      end
      @socket.write(*parts)
    rescue Errno::EPIPE, Errno::ECONNRESET, IOError # The last: closed by a fork.
      raise ClientGone, "the client is gone"
    end

    # Sends a part of a file without reading it here.
    def copy(file, bytes)
      IO.copy_stream(file, @socket, bytes)
    rescue Errno::EPIPE, Errno::ECONNRESET
      raise ClientGone, "the client is gone"
    end

    # The socket itself, for an application that takes it over.
    def give_away
      @is_given_away = true
      @socket.ungetbyte(take(@buffer.bytesize)) unless @buffer.empty?
      @socket
    end

    def given_away?
      @is_given_away
    end

    def end_writing
      @socket.shutdown(Socket::SHUT_WR)
    rescue Errno::ENOTCONN, IOError # The latter: closed by a fork.
      nil
    end

    # Ends it, too: a process that the application has forked may still hold the socket.
    def close
      end_writing
      @socket.close
    end

    private

    # Reads straight into the buffer, which keeps its memory.
    def receive
      if @buffer.empty?
        bytes = @socket.read_nonblock(READ_BYTES, @buffer, exception: false)
      else
        bytes = @socket.read_nonblock(READ_BYTES, exception: false)
        @buffer << bytes if bytes.is_a?(String)
      end
      bytes.nil? ? :end : bytes
    rescue Errno::ECONNRESET
      :end
    end

    def whole_head?
      return false if @buffer.bytesize < 4

      size = @buffer.unpack1("N")
      if size > MAX_HEAD_BYTES
        raise BadRequest, "headers of #{size} bytes, #{MAX_HEAD_BYTES} at most"
      end

      @buffer.bytesize >= 4 + size
    end

    # A copy: a part of the buffer would hold on to its memory.
    def take_head
      size = @buffer.unpack1("N")
      if @buffer.bytesize == 4 + size
        payload = @buffer.unpack1("x4a*")
        @buffer.clear
      else
        payload = @buffer.byteslice(4, size)
        @buffer = @buffer.byteslice(4 + size..-1)
      end
      payload
    end

    def take(max)
      bytes = @buffer
      @buffer = String.new
      unread(bytes.slice!(max..-1)) if bytes.bytesize > max
      bytes
    end
  end
end
