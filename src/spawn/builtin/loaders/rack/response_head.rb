# The head of an answer in CGI form (RFC 3875, 6.3), and what it says of the body's framing.
# frozen_string_literal: true

module RackLoader
  # The application answered what no server may send.
  class BadAnswer < StandardError; end

  class ResponseHead
    TOKEN = /\A[!#$%&'*+.^_`|~0-9A-Za-z-]+\z/.freeze
    FORBIDDEN = /[\r\n\0]/.freeze
    # They are about a connection, which the session is not; the front end frames its own.
    OF_THE_CONNECTION = %w[connection keep-alive proxy-connection status upgrade].freeze
    IS_RACK_3 = Rack.release.to_i >= 3
    REASONS = Rack::Utils::HTTP_STATUS_CODES
    # What is known of a name; applications use the same ones again and again.
    KINDS = {} # rubocop:disable Style/MutableConstant
    MAX_KINDS = 1_000

    # Bytes of body as the application says; nil: it does not.
    attr_reader :length
    # What takes the connection over once the head is sent.
    attr_reader :hijack
    # Whether the application makes chunks itself.
    attr_reader :chunked
    alias chunked? chunked

    # Raises BadAnswer, and whatever enumerating the headers raises.
    def initialize(status, headers)
      @code = status.to_i
      raise BadAnswer, "the status #{status.inspect} is none" unless @code.between?(100, 999)

      @text = String.new(STATUS_LINES[@code], capacity: 512)
      headers.each { |name, value| add(name, value) }
    end

    # Whether HTTP allows the answer a body (RFC 9110, 6.4.1).
    def body?
      @code >= 200 && @code != 204 && @code != 304
    end

    # The whole head. @param framing one more line, or "".
    def finish(framing)
      @text << framing << "\r\n"
    end

    STATUS_LINES = Hash.new do |lines, code|
      reason = REASONS[code]
      line = "Status: #{code}#{" #{reason}" if reason}\r\n".b.freeze
      lines[code] = line
    end

    private

    def add(name, value)
      case KINDS[name] || kind_of(name)
      when :plain then each_value(name, value) { |one| append(name, one) }
      when :length then @length = length_of(name, value)
      when :coding then @chunked = value.to_s.strip.casecmp?("chunked")
      when :hijack then @hijack = value
      when :forbidden then raise BadAnswer, "the header name #{name.inspect} is none"
      end
    end

    def kind_of(name)
      kind = classify(name.to_s)
      KINDS[name.dup.freeze] = kind if name.is_a?(String) && KINDS.length < MAX_KINDS
      kind
    end

    def classify(name)
      lower = name.downcase
      return :hijack if lower == "rack.hijack"
      return :ignored if lower.start_with?("rack.") || OF_THE_CONNECTION.include?(lower)
      return :length if lower == "content-length"
      return :coding if lower == "transfer-encoding"

      TOKEN.match?(name) ? :plain : :forbidden
    end

    # Rack 2 joins repeated headers with line ends, Rack 3 has arrays.
    def each_value(name, value, &block)
      return value.each(&block) if value.is_a?(Array)

      text = value.to_s
      return yield text unless FORBIDDEN.match?(text)
      return text.split("\n").each(&block) unless IS_RACK_3 || text.match?(/[\r\0]/)

      raise BadAnswer, "the value of the header #{name} would begin another line"
    end

    def append(name, value)
      value = value.to_s
      if FORBIDDEN.match?(value)
        raise BadAnswer, "the value of the header #{name} would begin another line"
      end

      @text << name << ": " << (value.ascii_only? ? value : value.b) << "\r\n"
    end

    def length_of(name, value)
      each_value(name, value) do |text|
        return text.to_i if /\A[0-9]{1,18}\z/.match?(text)
      end
      raise BadAnswer, "the content length #{value.inspect} is none"
    end
  end
end
