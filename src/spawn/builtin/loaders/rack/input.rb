# rack.input: the body of a request as the application reads it, while it comes in.
#
# Rack 2 promises that it can be rewound, so what was read is kept: in memory while it is small,
# else in a file that has no name. Rack 3 promises no such thing, and nothing is kept.
# frozen_string_literal: true

require "stringio"
require_relative "body"

module RackLoader
  # What both have beside `read` and `gets`.
  module LineByLine
    def each
      while (line = gets)
        yield line
      end
      self
    end

    # To let go of it is the loader's part.
    def close; end
  end

  # There is no body: one for all requests that have none.
  class NoInput
    include LineByLine

    def read(length = nil, buffer = nil)
      buffer&.clear
      (buffer || String.new) unless length&.positive?
    end

    def gets; end

    def rewind
      0
    end
  end

  NO_INPUT = NoInput.new.freeze

  # Reads forward only. What comes goes straight where it is wanted, or into one string for all that
  # comes: Ruby collects strings that were dropped late, and an upload's would add up to 40 MB.
  class Input
    include LineByLine

    def initialize(body)
      @body = body
      @arrived = String.new
      @ahead = String.new
    end

    # As IO#read.
    def read(length = nil, buffer = nil)
      ahead = take(length || @ahead.bytesize)
      result = buffer ? buffer.replace(ahead) : ahead
      until length && result.bytesize >= length
        wanted = length ? length - result.bytesize : Body::READ_BYTES
        bytes = @body.read(wanted, result.empty? ? result : @arrived) or break
        result << bytes unless bytes.equal?(result)
      end
      result unless result.empty? && length&.positive?
    end

    # The next line, its end included; nil at the end.
    def gets
      until (at = @ahead.index("\n"))
        bytes = @body.read(Body::READ_BYTES, @arrived) or break
        @ahead << bytes
      end
      return take(at + 1) if at

      @ahead.empty? ? nil : take(@ahead.bytesize)
    end

    private

    def take(bytes)
      return @ahead.slice!(0, bytes) if bytes < @ahead.bytesize

      all = @ahead
      @ahead = String.new
      all
    end
  end

  # Keeps what was read, and reads it again after `rewind`, which hardly anybody does.
  class RewindableInput
    include LineByLine

    # To write a file costs three times what all else of such a body does.
    MAX_MEMORY_BYTES = 1024 * 1024
    MIN_PIECE_BYTES = 4096

    def initialize(input)
      @input = input
      # In memory; copies that share it with what was given out.
      @pieces = []
      # What is to be read again, or does not fit into memory.
      @kept = nil
      @kept_bytes = 0
      # Of what is kept, what is to be read again; the position of `@kept` is where that begins.
      @again_bytes = 0
    end

    def read(length = nil, buffer = nil)
      return keep(@input.read(length, buffer)) if @again_bytes.zero?

      result = again(@kept.read(length))
      missing = length && length - result.bytesize
      fresh = missing == 0 ? nil : keep(@input.read(missing))
      result << fresh if fresh
      buffer ? buffer.replace(result) : result
    end

    def gets
      return keep(@input.gets) if @again_bytes.zero?

      line = again(@kept.gets)
      return line if line.end_with?("\n")

      fresh = keep(@input.gets)
      fresh ? line << fresh : line
    end

    def rewind
      @kept ||= StringIO.new(@pieces.join.b)
      @kept.rewind
      @again_bytes = @kept_bytes
      0
    end

    # Lets go of what it holds; the request is over.
    def release
      @kept&.close
    end

    private

    def again(bytes)
      @again_bytes -= bytes.bytesize
      bytes
    end

    # Called only where all that is kept has been read: the position is the end.
    def keep(bytes)
      return bytes if bytes.nil? || bytes.empty?

      @kept_bytes += bytes.bytesize
      move_to_file if @pieces && @kept_bytes > MAX_MEMORY_BYTES
      @kept ? @kept.write(bytes) : keep_piece(bytes)
      bytes
    end

    # A line is too small for an object of its own.
    def keep_piece(bytes)
      last = @pieces.last
      last && last.bytesize < MIN_PIECE_BYTES ? last << bytes : @pieces << bytes.dup
    end

    def move_to_file
      file = nameless_file
      file.write(@kept ? @kept.string : @pieces.join)
      @kept = file
      @pieces = nil
    end

    def nameless_file
      name = "rack-input-#{Process.pid}-#{Random.rand(1 << 64).to_s(36)}"
      # Not Dir.tmpdir, which would take as long to load as a small application.
      path = File.join(ENV["TMPDIR"].to_s.empty? ? "/tmp" : ENV["TMPDIR"], name)
      file = File.open(path, File::RDWR | File::CREAT | File::EXCL, 0o600)
      File.unlink(path)
      file.binmode # In mode numbers BINARY says nothing, and there may be a default_internal.
    end
  end
end
