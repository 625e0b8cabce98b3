# What a streaming body of Rack 3 reads and writes (Rack's specification, Streaming Body). It frames
# what is written as the session needs, and `close` ends the answer: a session that ends without it
# breaks off.
# frozen_string_literal: true

module RackLoader
  class BodyStream
    # @param socket the session's. @param writer has sent the head. @param input the request's body.
    def initialize(socket, writer, input)
      @socket = socket
      @writer = writer
      @input = input
    end

    # Raises IOError when the client has left, or the stream is closed.
    def write(*pieces)
      raise IOError, "the stream is closed" if closed?

      pieces.sum do |piece|
        text = piece.to_s
        @writer.write(text)
        text.bytesize
      end
    end

    def <<(piece)
      write(piece)
      self
    end

    alias write_nonblock write

    # Everything has been sent when `write` returns.
    def flush
      self
    end

    def read(...)
      @input.read(...)
    end

    def gets
      @input.gets
    end

    def close_read; end

    def close(_error = nil)
      return if closed?

      @writer.finish
    ensure
      @socket.close
    end

    alias close_write close

    def closed?
      @socket.closed?
    end

    def to_io
      @socket
    end
  end
end
