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
    # Where heads arrive; nothing stays in it. One for all, since one thread at a time reads them.
    ARRIVED = String.new(capacity: READ_BYTES)

    # When a connection that is only being emptied is closed; nil: it is in use.
    attr_accessor :closes_at
    # Whether a request was answered on it and the next may come.
    attr_accessor :kept
    # What its requests are served by; nil until the first has come.
    attr_accessor :session

    attr_reader :socket

    def initialize(socket)
      @socket = socket
      @buffer = String.new
      @closes_at = nil
      @kept = false
      @is_given_away = false
    end

    # Takes in what has arrived. Returns the payload of the head once it is whole, nil until then,
    # and :end when the client has left before. Raises BadRequest.
    # @param arrived where it arrives: another than all others' for who does not lead.
    def head(arrived = ARRIVED)
      return take_head if !@buffer.empty? && whole_head?

      bytes = @socket.read_nonblock(READ_BYTES, arrived, exception: false)
      return (:end if bytes.nil?) unless bytes.is_a?(String)
      # As a rule a head comes alone and whole.
      return bytes.unpack1("x4a*") if bytes.unpack1("N") == bytes.bytesize - 4 && @buffer.empty?

      @buffer << bytes
      take_head if whole_head?
    rescue Errno::ECONNRESET
      :end
    end

    # Puts up to `max` bytes into a string as soon as there are some; nil at the client's end.
    def read(max, into)
      return into.replace(take(max)) unless @buffer.empty?

      @socket.readpartial(max, into)
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

    # Writes it all, in one system call where that does. Raises ClientGone.
    def write(data)
      written = @socket.write_nonblock(data, exception: false)
      return if written == data.bytesize

      write_all(written == :wait_writable ? data : data.byteslice(written..-1))
    rescue Errno::EPIPE, Errno::ECONNRESET, IOError # The last: closed by a fork.
      raise ClientGone, "the client is gone"
    end

    def write_all(*parts)
      @socket.write(*parts)
    rescue Errno::EPIPE, Errno::ECONNRESET, IOError # The last: closed by a fork.
      raise ClientGone, "the client is gone"
    end

    # Sends a part of a file, from where it stands, without reading it here.
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
      payload = @buffer.unpack1("x4a#{size}")
      @buffer = @buffer.byteslice(4 + size..-1)
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
