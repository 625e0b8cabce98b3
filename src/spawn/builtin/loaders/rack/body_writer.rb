# Writes the pieces of a body as they come, in the framing of the answer: by its length, in chunks,
# or to the end of the connection. The head goes out with the first piece: an application that fails
# before that can still be answered for with a 500.
# frozen_string_literal: true

module RackLoader
  class BodyWriter
    # Pieces up to this size are copied together with their framing; larger ones are sent where they
    # lie.
    MAX_JOINED_BYTES = 16 * 1024

    # @param head what goes before the body. @param length how many bytes it has; nil: not known.
    # @param in_chunks how it ends if the length is not known: by a last chunk, or with the
    # connection.
    def initialize(connection, head, length, in_chunks)
      @connection = connection
      @pending = head
      @left = length
      @in_chunks = in_chunks && length.nil?
    end

    # Whether anything may have been sent.
    def begun?
      @pending.nil?
    end

    # Raises ClientGone; BadAnswer for more than the length, which is not sent.
    def write(piece)
      raise BadAnswer, "the body gave #{piece.class}, not String" unless piece.is_a?(String)

      bytes = piece.bytesize
      return (put("", "", "") if @pending) if bytes.zero?

      put(@in_chunks ? "#{bytes.to_s(16)}\r\n" : "", limited(piece), @in_chunks ? "\r\n" : "")
      raise BadAnswer, "the body is longer than its content length" if @left&.negative?
    end

    # Ends the body. Returns whether it was complete.
    def finish
      put("", "", @in_chunks ? "0\r\n\r\n" : "") if @pending || @in_chunks
      @left.nil? || @left.zero?
    end

    private

    def limited(piece)
      return piece unless @left

      @left -= piece.bytesize
      @left.negative? ? piece.byteslice(0, @left + piece.bytesize) : piece
    end

    def put(before, piece, after)
      head = @pending || String.new
      @pending = nil
      head << before
      if piece.bytesize <= MAX_JOINED_BYTES
        head << (piece.ascii_only? ? piece : piece.b) << after
        @connection.write(head)
      else
        @connection.write_all(head, piece, after)
      end
    end
  end
end
