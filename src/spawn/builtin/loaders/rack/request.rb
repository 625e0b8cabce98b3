# The head of a request (PROTOCOL section 5) as the environment of a rack application: what Rack's
# specification asks of it, whatever the front end sends.
# frozen_string_literal: true

require_relative "connection"

module RackLoader
  # One request: its environment and how its body is framed.
  class Request
    # Of every environment; set last, so that no header can take their place.
    CONSTANT = {
      "rack.version" => [1, 3].freeze,
      "rack.multithread" => false,
      "rack.multiprocess" => true,
      "rack.run_once" => false,
      "rack.hijack?" => true
    }.freeze

    METHODS = %w[GET HEAD POST PUT PATCH DELETE OPTIONS].to_h { |name| [name, name] }.freeze
    TOKEN = /\A[!#$%&'*+.^_`|~0-9A-Za-z-]+\z/.freeze

    # More variables than this are not passed to a method at once: they would overflow its stack.
    FEW = 512

    attr_reader :env, :method
    # Bytes of body; nil: to the client's end, or chunked.
    attr_reader :length

    # Reads `name NUL value NUL …`. Raises BadRequest.
    def initialize(payload)
      @env = variables(payload)
      @is_kept = @env.delete("SESSION_KEEP") == "1"
      @method = checked_method
      @length = checked_length
      frame
      target
      server
      @env.delete("HTTP_PROXY") # Programs take that variable for a setting (CVE-2016-5385).
      @env.update(CONSTANT)
    end

    # Whether another request may follow on the same connection.
    def kept?
      @is_kept
    end

    def chunked?
      @is_chunked
    end

    def head?
      @method == "HEAD"
    end

    private

    def variables(payload)
      raise BadRequest, "the headers do not end with a NUL" unless payload.getbyte(-1) == 0

      parts = payload.split("\0", -1)
      parts.pop
      raise BadRequest, "a header lacks its value" if parts.length.odd?

      env = parts.length <= FEW ? Hash[*parts] : parts.each_slice(2).to_h
      env = joined(parts) if env.length * 2 != parts.length
      raise BadRequest, "a header lacks its name" if env.key?("")

      refuse_line_ends(env) if payload.include?("\n") || payload.include?("\r")
      env
    end

    # Headers that came more than once are one list (RFC 9110, 5.3); of other variables the last one
    # counts.
    def joined(parts)
      parts.each_slice(2).with_object({}) do |(name, value), env|
        before = name.start_with?("HTTP_") ? env[name] : nil
        separator = name == "HTTP_COOKIE" ? "; " : ", "
        env[name] = before ? "#{before}#{separator}#{value}" : value
      end
    end

    # A path may have them, decoded; in a header they would begin another.
    def refuse_line_ends(env)
      env.each do |name, value|
        next unless name.start_with?("HTTP_", "CONTENT_") && value.match?(/[\r\n]/)

        raise BadRequest, "the header #{name} is not one of HTTP"
      end
    end

    def checked_method
      method = @env["REQUEST_METHOD"]
      raise BadRequest, "REQUEST_METHOD is missing" if method.nil? || method.empty?
      return method if METHODS.key?(method)
      raise BadRequest, "the method #{method} cannot be served" unless TOKEN.match?(method)

      method
    end

    # CONTENT_TYPE and CONTENT_LENGTH are there once, without HTTP_, or not at all.
    def checked_length
      @env.delete("HTTP_CONTENT_LENGTH")
      @env.delete("HTTP_CONTENT_TYPE")
      @env.delete("CONTENT_TYPE") if @env["CONTENT_TYPE"] == ""
      text = @env["CONTENT_LENGTH"]
      return if text.nil?
      return @env.delete("CONTENT_LENGTH") && nil if text.empty?
      raise BadRequest, "CONTENT_LENGTH is not a length" unless /\A[0-9]{1,18}\z/.match?(text)

      text.to_i
    end

    # Transfer-Encoding is about a connection: this one's if it is kept, else the front end's.
    def frame
      coding = @env.delete("HTTP_TRANSFER_ENCODING")
      @is_chunked = @is_kept && !coding.nil?
      if @is_chunked
        raise BadRequest, "the transfer encoding is not chunked" unless coding.casecmp?("chunked")
        raise BadRequest, "the body has a length and is chunked" if @length
      elsif @length.nil? && (@is_kept || %w[GET HEAD].include?(@method))
        @length = 0
      end
    end

    # SCRIPT_NAME, PATH_INFO and QUERY_STRING: the path as it is in the URL, as applications expect
    # of Ruby's servers. A PATH_INFO that says something else was rewritten and stays.
    def target
      uri = @env["REQUEST_URI"]
      path, query = uri.sub(%r{\Ahttps?://[^/?]*}i, "").split("?", 2) if uri
      @env["QUERY_STRING"] ||= query || ""
      script = @env["SCRIPT_NAME"] ||= ""
      script = @env["SCRIPT_NAME"] = script.chomp("/") if script.end_with?("/")
      given = @env["PATH_INFO"]
      if given.nil?
        @env["PATH_INFO"] = path_below(script, path || "")
      elsif path&.include?("%")
        raw = path_below(script, path)
        @env["PATH_INFO"] = raw if decoded(raw) == given
      end
      @env["PATH_INFO"] = "/" if script.empty? && @env["PATH_INFO"].empty?
    end

    def path_below(script, path)
      return path if script.empty? || !path.start_with?(script)

      rest = path.byteslice(script.bytesize..-1)
      rest.empty? || rest.start_with?("/") ? rest : path
    end

    def decoded(path)
      path.gsub(/%([0-9A-Fa-f]{2})/n) { $1.hex.chr }
    end

    def server
      is_secure = %w[on 1 true].include?(@env["HTTPS"]&.downcase)
      @env["rack.url_scheme"] = is_secure ? "https" : "http"
      @env["SERVER_NAME"] = named_host || "localhost" if @env["SERVER_NAME"].to_s.empty?
      @env["SERVER_PORT"] = is_secure ? "443" : "80" if @env["SERVER_PORT"].to_s.empty?
      @env["SERVER_PROTOCOL"] ||= "HTTP/1.1"
      @env["HTTP_VERSION"] = @env["SERVER_PROTOCOL"]
    end

    def named_host
      @env["HTTP_HOST"]&.slice(/\A(\[[0-9A-Fa-f:.]+\]|[^:]+)/)
    end
  end
end
