# The body of a request as it comes in: of known length, chunked, or to the client's end.
# frozen_string_literal: true

require_relative "dechunker"

module RackLoader
  class Body
    READ_BYTES = 64 * 1024

    def initialize(connection, request)
      @connection = connection
      @left = request.length
      @dechunker = Dechunker.new if request.chunked?
      # What comes of chunks.
      @arrived = String.new
      @is_done = @left == 0
    end

    # Whether all of it has been read.
    def done?
      @is_done
    end

    # Puts the next bytes, at most `max`, into a string and returns it as soon as there are some;
    # nil at the end. Raises ClientGone when the client leaves before the end.
    def read(max, into)
      return next_chunk(max, into) if @dechunker
      return if @is_done

      bytes = @connection.read([max, @left || READ_BYTES].min, into)
      return ended if bytes.nil?

      count(bytes)
    end

    private

    def count(bytes)
      @left -= bytes.bytesize if @left
      @is_done = @left == 0
      bytes
    end

    def ended
      raise ClientGone, "the client ended the body early" if @left || @dechunker

      @is_done = true
      nil
    end

    # Chunks are longer than what is in them.
    def next_chunk(max, into)
      into.clear
      while into.empty?
        return if @is_done

        bytes = @connection.read([max, READ_BYTES].min, @arrived) or return ended
        take_apart(bytes, into)
      end
      into
    end

    def take_apart(bytes, into)
      rest = @dechunker.feed(bytes) { |piece| into << piece }
      @connection.unread(rest)
      @is_done = @dechunker.done?
    rescue Dechunker::Malformed => e
      raise BadRequest, "the body is not chunked as it should be: #{e.message}"
    end
  end
end
