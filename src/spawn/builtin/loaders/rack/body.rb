# The body of a request as it comes in: of known length, chunked, or to the client's end.
# frozen_string_literal: true

require_relative "dechunker"

module RackLoader
  class Body
    READ_BYTES = 64 * 1024
    # What nobody read of a body is thrown away up to this size to keep the connection.
    MAX_DRAIN_BYTES = 256 * 1024

    def initialize(connection, request)
      @connection = connection
      @left = request.length
      @dechunker = Dechunker.new if request.chunked?
      @pieces = []
      @is_done = @left == 0
    end

    # Whether all of it has been read.
    def done?
      @is_done
    end

    # The next bytes, at most `max`, as soon as there are some; nil at the end. Raises ClientGone
    # when the client leaves before the end.
    def read(max = READ_BYTES)
      return next_chunk(max) if @dechunker
      return if @is_done

      bytes = @connection.read(@left ? [max, @left].min : max)
      return ended if bytes.nil?

      count(bytes)
    end

    # Throws away the rest if that takes no waiting and is not much. Returns whether it is gone.
    def drain
      budget = MAX_DRAIN_BYTES
      until @is_done
        bytes = @connection.read_now(@left ? [READ_BYTES, @left].min : READ_BYTES)
        return @is_done ||= bytes == :end && @left.nil? && !@dechunker unless bytes.is_a?(String)
        return false if (budget -= bytes.bytesize).negative?

        @dechunker ? take_apart(bytes) : count(bytes)
      end
      true
    rescue BadRequest
      false
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

    def next_chunk(max)
      while @pieces.empty?
        return if @is_done

        bytes = @connection.read(READ_BYTES) or return ended
        take_apart(bytes)
      end
      piece = @pieces.shift
      @pieces.unshift(piece.slice!(max..-1)) if piece.bytesize > max
      piece
    end

    def take_apart(bytes)
      rest = @dechunker.feed(bytes) { |piece| @pieces << piece }
      @connection.unread(rest)
      @is_done = @dechunker.done?
    rescue Dechunker::Malformed => e
      raise BadRequest, "the body is not chunked as it should be: #{e.message}"
    end
  end
end
