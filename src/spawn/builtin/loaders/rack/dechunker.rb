# Takes chunks apart (RFC 9112, 7.1): bytes in, the bytes they stand for out. It does no I/O, so it
# serves for what clients send and for applications that make chunks themselves.
# frozen_string_literal: true

module RackLoader
  class Dechunker
    class Malformed < StandardError; end

    # Of a line that gives a size, and of all trailers together, which are dropped.
    MAX_LINE_BYTES = 1_024
    MAX_TRAILER_BYTES = 16 * 1024

    def initialize
      @state = :size
      @line = String.new
      @at = 0
      @left = 0
      @trailer_bytes = 0
    end

    def done?
      @state == :done
    end

    # Yields the pieces that `bytes`, which are binary, complete; each is empty afterwards. Returns
    # what lies behind the last chunk, often "".
    def feed(bytes, &block)
      @at = 0
      step(bytes, &block) until @at == bytes.bytesize || done?
      take(bytes, bytes.bytesize - @at)
    end

    private

    def step(bytes, &block)
      case @state
      when :data then data(bytes, &block)
      when :data_end then line(bytes) { |text| after_data(text) }
      when :size then line(bytes) { |text| size(text) }
      when :trailer then line(bytes) { |text| trailer(text) }
      end
    end

    # Emptied, or a large body's pieces would stay until Ruby collects them.
    def data(bytes)
      piece = take(bytes, @left)
      @left -= piece.bytesize
      @state = :data_end if @left.zero?
      yield piece
      piece.clear
    end

    # A copy: a part would hold on to the memory of the whole.
    def take(bytes, count)
      taken = bytes.unpack1("@#{@at}a#{[count, bytes.bytesize - @at].min}")
      @at += taken.bytesize
      taken
    end

    # Lines end with CR LF and nothing else: two readers must not disagree on where they end.
    def line(bytes)
      at = bytes.index("\n", @at)
      @line << take(bytes, (at || bytes.bytesize) + 1 - @at)
      raise Malformed, "a line of #{@line.bytesize} bytes" if @line.bytesize > MAX_LINE_BYTES
      return unless at
      raise Malformed, "a line without CR LF" unless @line.end_with?("\r\n")

      yield @line.chomp("\r\n")
      @line.clear
    end

    def size(text)
      digits = text[/\A([0-9A-Fa-f]{1,15})[ \t]*(;|\z)/, 1]
      raise Malformed, "a chunk without a size" unless digits

      @left = digits.hex
      @state = @left.zero? ? :trailer : :data
    end

    def after_data(text)
      raise Malformed, "a chunk longer than its size" unless text.empty?

      @state = :size
    end

    def trailer(text)
      @trailer_bytes += text.bytesize
      raise Malformed, "too many trailers" if @trailer_bytes > MAX_TRAILER_BYTES

      @state = :done if text.empty?
    end
  end
end
