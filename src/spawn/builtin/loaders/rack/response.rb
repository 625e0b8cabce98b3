# Sends an answer: its head, and its body in the framing that the session needs. Never more bytes
# than the head has promised; where there are fewer, the session is not kept.
# frozen_string_literal: true

require_relative "body_stream"
require_relative "body_writer"
require_relative "dechunker"
require_relative "response_head"

module RackLoader
  class Response
    def initialize(connection)
      @connection = connection
      @head = ResponseHead.new
    end

    # For the next request. @param may_keep whether the session can be kept, if its client wants it
    # and all of the body (nil: there is none) has come when the head of the answer is made.
    def reset(request, may_keep, body)
      @is_head = request.head?
      @is_framed = request.kept?
      @keep = may_keep && @is_framed
      @request_body = body
      @was_begun = @was_closed = false
      @writer = nil
    end

    # Whether anything of it may have been sent.
    def begun?
      @was_begun || @writer&.begun?
    end

    # Sends it and closes the body. Returns whether another request may follow.
    # @param input the request's body, for an application that reads it while it answers.
    def deliver(status, headers, body, input)
      @head.make(status, headers)
      return give_away(@head.hijack) if @head.hijack
      end_session unless @keep && (@request_body.nil? || @request_body.done?)

      # The usual case: a body that is there as a whole.
      return send_parts(body) if body.instance_of?(Array) && takes?(body)

      deliver_otherwise(body, input)
    ensure
      # In Rack 3 `to_ary` has closed the body.
      body.close if !@was_closed && body.respond_to?(:close)
    end

    private

    # Whoever keeps a session has to know before its client sends the next request on it.
    def end_session
      @keep = false
      @head.end_session if @is_framed && !@head.switches?
    end

    def deliver_otherwise(body, input)
      return stream(body, input) if body.respond_to?(:call) && !body.respond_to?(:each)
      raise BadAnswer, "a status 101 hands no connection over" if @head.switches?
      return without_body if @is_head || !@head.body?

      parts = parts_of(body)
      return send_parts(parts) if parts && takes?(parts)

      sent = send_file(body) if body.respond_to?(:to_path)
      sent.nil? ? send_each(parts || body) : sent
    end

    def parts_of(body)
      parts = body.to_ary if body.respond_to?(:to_ary)
      return unless parts.is_a?(Array)

      @was_closed = ResponseHead::IS_RACK_3
      parts
    end

    # Whether the answer can be sent with these parts as its body, and nothing else be said of it.
    def takes?(parts)
      @total = parts.length == 1 ? parts[0].bytesize : parts.sum(&:bytesize)
      length = @head.length
      (length.nil? || length == @total) && @head.body? && !@is_head &&
        !@head.chunked? && !@head.switches?
    end

    def without_body
      length = @head.length
      as_get = @head.body? && length ? "content-length: #{length}\r\n" : ""
      send_head(@head.body? ? as_get : @head.framing_without_body)
      @keep
    end

    def send_head(framing)
      @was_begun = true
      @connection.write(@head.finish(framing))
    end

    def send_parts(parts)
      head = @head.finish_with_length(@total)
      @was_begun = true
      if @total <= BodyWriter::MAX_JOINED_BYTES
        parts.each { |part| head << (part.ascii_only? ? part : part.b) }
        @connection.write(head)
      else
        @connection.write_all(head, *parts)
      end
      @keep
    end

    # Nil when there is no such file to send as a whole: then `each` has to do.
    def send_file(body)
      return if @head.chunked?

      opened = body.respond_to?(:to_io) ? body.to_io : nil
      return send_open_file(opened) if opened.is_a?(File)

      File.open(body.to_path, "rb") { |file| send_open_file(file) }
    rescue SystemCallError, IOError
      raise if @was_begun
    end

    # From where it stands: the application may have read its beginning.
    def send_open_file(file)
      facts = file.stat
      left = facts.size - file.pos
      length = @head.length || left
      return unless facts.file? && left >= length

      send_head("content-length: #{length}\r\n")
      @connection.copy(file, length) == length && @keep
    end

    def send_each(body)
      begin_writing
      if @head.chunked?
        dechunker = Dechunker.new
        body.each { |piece| dechunker.feed(piece.b) { |bytes| @writer.write(bytes) } }
        raise BadAnswer, "the last chunk is missing" unless dechunker.done?
      else
        body.each { |piece| @writer.write(piece) }
      end
      @writer.finish && @keep
    end

    def begin_writing
      length = @head.chunked? ? nil : @head.length
      in_chunks = @is_framed && length.nil?
      head = @head.finish(framing(length, in_chunks))
      @writer = BodyWriter.new(@connection, head, length, in_chunks)
    end

    def framing(length, in_chunks)
      return "transfer-encoding: chunked\r\n" if in_chunks

      length ? "content-length: #{length}\r\n" : ""
    end

    # A streaming body of Rack 3. The application writes it, perhaps later, and closes the stream.
    def stream(body, input)
      return give_away(body) if @head.switches?
      return without_body if @is_head || !@head.body?

      end_session if @keep
      begin_writing
      @writer.write("") # The head: whoever streams wants it to be seen.
      hand_over { body.call(BodyStream.new(@connection.give_away, @writer, input)) }
    end

    # The application has the session from the head on, and frames what it writes itself.
    def give_away(taker)
      end_session
      send_head(framing(@head.length, @head.chunked?))
      hand_over { taker.call(@connection.give_away) }
    end

    def hand_over
      yield
      false
    rescue Exception # rubocop:disable Lint/RescueException
      @connection.close
      raise
    end
  end
end
