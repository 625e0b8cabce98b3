# Sends an answer: its head, and its body in the framing that the session needs. Never more bytes
# than the head has promised; where there are fewer, the session is not kept.
# frozen_string_literal: true

require_relative "body_writer"
require_relative "dechunker"
require_relative "response_head"

module RackLoader
  class Response
    # @param keep whether the session can be kept, if the answer allows it.
    def initialize(connection, request, keep)
      @connection = connection
      @is_head = request.head?
      @keep = keep
      @was_begun = false
      @was_given_away = false
    end

    # Whether anything of it may have been sent.
    def begun?
      @was_begun || @writer&.begun?
    end

    # Whether the application has the connection now.
    def given_away?
      @was_given_away
    end

    # Sends it and closes the body. Returns whether another request may follow.
    def deliver(status, headers, body)
      @head = ResponseHead.new(status, headers)
      return give_away(@head.hijack) if @head.hijack
      return give_away(body) if body.respond_to?(:call) && !body.respond_to?(:each)
      return without_body if @is_head || !@head.body?

      parts, body = whole(body)
      return send_parts(parts) if parts && fits?(parts)

      sent = send_file(body.to_path) if body.respond_to?(:to_path)
      sent.nil? ? send_each(parts || body) : sent
    ensure
      body.close if body.respond_to?(:close)
    end

    private

    # The pieces of a body that is there as a whole, and what is then left to close: in Rack 3
    # `to_ary` has closed the body.
    def whole(body)
      return [body, nil] if body.instance_of?(Array)
      return [nil, body] unless body.respond_to?(:to_ary)

      parts = body.to_ary
      return [nil, body] unless parts.is_a?(Array)

      [parts, ResponseHead::IS_RACK_3 ? nil : body]
    end

    def fits?(parts)
      @total = parts.sum(&:bytesize)
      !@head.chunked? && (@head.length.nil? || @head.length == @total)
    end

    def without_body
      length = @head.length
      send_head(length && @head.body? ? "content-length: #{length}\r\n" : "")
      @keep
    end

    def send_head(framing)
      @was_begun = true
      @connection.write(@head.finish(framing))
    end

    def send_parts(parts)
      head = @head.finish("content-length: #{@total}\r\n")
      @was_begun = true
      if @total <= BodyWriter::MAX_JOINED_BYTES
        parts.each { |part| head << (part.ascii_only? ? part : part.b) }
        @connection.write(head)
      else
        @connection.write(head, *parts)
      end
      @keep
    end

    # Nil when there is no such file to send as a whole: then `each` has to do.
    def send_file(path)
      return if @head.chunked?

      File.open(path, "rb") do |file|
        facts = file.stat
        length = @head.length || facts.size
        return unless facts.file? && facts.size >= length

        send_head("content-length: #{length}\r\n")
        sent = @connection.copy(file, length)
        return @keep && sent == length
      end
    rescue SystemCallError
      raise if @was_begun
    end

    def send_each(body)
      length = @head.chunked? ? nil : @head.length
      in_chunks = @keep && length.nil?
      head = @head.finish(framing(length, in_chunks))
      @writer = BodyWriter.new(@connection, head, length, in_chunks)
      if @head.chunked?
        dechunker = Dechunker.new
        body.each { |piece| dechunker.feed(piece.b) { |bytes| @writer.write(bytes) } }
        raise BadAnswer, "the last chunk is missing" unless dechunker.done?
      else
        body.each { |piece| @writer.write(piece) }
      end
      @writer.finish && @keep
    end

    def framing(length, in_chunks)
      return "transfer-encoding: chunked\r\n" if in_chunks

      length ? "content-length: #{length}\r\n" : ""
    end

    # The application writes the body itself, perhaps later, and closes the connection.
    def give_away(taker)
      send_head("")
      @was_given_away = true
      taker.call(@connection.give_away)
      false
    end
  end
end
