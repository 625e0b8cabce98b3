# The head of an answer in CGI form (RFC 3875, 6.3), and what it says of the body's framing.
# frozen_string_literal: true

module RackLoader
  # The application answered what no server may send.
  class BadAnswer < StandardError; end

  class ResponseHead
    TOKEN = /\A[!#$%&'*+.^_`|~0-9A-Za-z-]+\z/.freeze
    FORBIDDEN = /[\r\n\0]/.freeze
    # They are about a connection, which the session is not; the front end frames its own.
    OF_THE_CONNECTION = %w[keep-alive proxy-connection status].freeze
    IS_RACK_3 = Rack.release.to_i >= 3
    # What is known of a name; applications use the same ones again and again.
    KINDS = {} # rubocop:disable Style/MutableConstant
    MAX_KINDS = 1_000
    SWITCHING_PROTOCOLS = 101
    RESET_CONTENT = 205

    # Bytes of body as the application says; nil: it does not.
    attr_reader :length
    # What takes the connection over once the head is sent.
    attr_reader :hijack
    # Whether the application makes chunks itself.
    attr_reader :chunked
    alias chunked? chunked

    # Begins the head of an answer. Raises BadAnswer, and whatever enumerating the headers raises.
    def make(status, headers)
      @length = @hijack = @chunked = @named = nil
      @code = status.to_i
      @text = String.new(STATUS_LINES[@code] || refuse(status), capacity: 512)
      @has_body = @code != 204 && @code != 304 && @code != RESET_CONTENT
      headers.each { |name, value| add(name, value) }
      drop(@named) if @named
    end

    # Whether HTTP allows the answer a body (RFC 9110, 6.4.1).
    attr_reader :has_body
    alias body? has_body

    # After it the session is bytes both ways, which no HTTP frames.
    def switches?
      @code == SWITCHING_PROTOCOLS
    end

    # The framing of an answer that HTTP allows no body. A 205 must say that it has none (RFC 9110,
    # 15.3.6), a 204 must not (8.6), a 304 says what length another answer would have.
    def framing_without_body
      return "content-length: 0\r\n" if @code == RESET_CONTENT

      @length && @code != 204 ? "content-length: #{@length}\r\n" : ""
    end

    # The session ends with this answer, which its client has to know.
    def end_session
      @text << "connection: close\r\n"
    end

    # The whole head. @param framing one more line, or "".
    def finish(framing)
      @text << framing << "\r\n"
    end

    def finish_with_length(bytes)
      @text << "content-length: " << bytes.to_s << "\r\n\r\n"
    end

    STATUS_LINES = Hash.new do |lines, code|
      next unless code == SWITCHING_PROTOCOLS || code.between?(200, 999)

      reason = reason_of(code)
      lines[code] = "Status: #{code}#{" #{reason}" if reason}\r\n".b.freeze
    end

    # Rack knows them all, but they come with Rack::Utils, which a start should not wait for.
    def self.reason_of(code)
      code == 200 ? "OK" : Rack::Utils::HTTP_STATUS_CODES[code]
    end

    private

    # Interim answers (RFC 9110, 15.2) end no request; but a 101 hands the session over.
    def refuse(status)
      is_interim = @code.between?(100, 199)
      raise BadAnswer, "the status #{status.inspect} #{is_interim ? 'ends no request' : 'is none'}"
    end

    def add(name, value)
      kind = KINDS[name] || kind_of(name)
      return plain(name, value) if kind == :plain

      case kind
      when :length then @length = length_of(name, value)
      when :coding then @chunked = value.to_s.strip.casecmp?("chunked")
      when :connection then connection(name, value)
      when :upgrade then plain(name, value) if switches?
      when :hijack then @hijack = value
      when :forbidden then raise BadAnswer, "the header name #{name.inspect} is none"
      end
    end

    def kind_of(name)
      kind = classify(name.to_s.downcase)
      KINDS[name.dup.freeze] = kind if name.is_a?(String) && KINDS.length < MAX_KINDS
      kind
    end

    def classify(lower)
      return :hijack if lower == "rack.hijack"
      return :ignored if lower.start_with?("rack.") || OF_THE_CONNECTION.include?(lower)
      return :length if lower == "content-length"
      return :coding if lower == "transfer-encoding"
      return lower.to_sym if %w[connection upgrade].include?(lower)

      TOKEN.match?(lower) ? :plain : :forbidden
    end

    def plain(name, value)
      if value.is_a?(String) && !FORBIDDEN.match?(value)
        @text << name.to_s << ": " << (value.ascii_only? ? value : value.b) << "\r\n"
      else
        each_value(name, value) { |one| plain(name, one) }
      end
    end

    # Rack 2 joins repeated headers with line ends, Rack 3 has arrays.
    def each_value(name, value)
      return value.each { |one| yield one.to_s } if value.is_a?(Array)

      text = value.to_s
      return yield text unless FORBIDDEN.match?(text)
      if IS_RACK_3 || text.match?(/[\r\0]/)
        raise BadAnswer, "the value of the header #{name} would begin another line"
      end

      text.split("\n").each { |line| yield line }
    end

    # The headers it names are about the connection too (RFC 9110, 7.6.1), and nobody behind us
    # could see that any more.
    def connection(name, value)
      return plain(name, value) if switches?

      each_value(name, value) { |text| (@named ||= []).concat(text.downcase.split(/[\s,]+/)) }
    end

    def drop(names)
      status, *lines = @text.lines("\r\n")
      lines.reject! { |line| names.include?(line[/\A[^:]*/].downcase) }
      @text = lines.unshift(status).join
    end

    def length_of(name, value)
      return value.to_i if value.is_a?(String) && /\A[0-9]{1,18}\z/.match?(value)

      each_value(name, value) do |text|
        return text.to_i if /\A[0-9]{1,18}\z/.match?(text)
      end
      raise BadAnswer, "the content length #{value.inspect} is none"
    end
  end
end
