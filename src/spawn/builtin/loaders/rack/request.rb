# The head of a request (PROTOCOL section 5) as the environment of a rack application: what Rack's
# specification asks of it, whatever the front end sends.
# frozen_string_literal: true

require_relative "connection"

module RackLoader
  # The request at hand: its environment and how its body is framed.
  class Request
    # Of every environment; set last, so that no header can take their place.
    CONSTANT = {
      "rack.version" => [1, 3].freeze,
      "rack.multithread" => false,
      "rack.multiprocess" => true,
      "rack.run_once" => false,
      "rack.url_scheme" => "http",
      "rack.hijack?" => true
    }.freeze

    METHODS = %w[GET HEAD POST PUT PATCH DELETE OPTIONS].to_h { |name| [name, name] }.freeze
    TOKEN = /\A[!#$%&'*+.^_`|~0-9A-Za-z-]+\z/.freeze

    # More variables than this are not passed to a method at once: they would overflow its stack.
    FEW = 512

    # What is put behind a payload, and what unpacks so many strings and what is left.
    MARK = "\1"
    FORMS = Hash.new { |forms, count| forms[count] = "#{'Z*' * count}a*" }

    # CONSTANT where several threads of a process call the application.
    MULTITHREADED = CONSTANT.merge("rack.multithread" => true).freeze

    attr_reader :method
    # Bytes of body; nil: to the client's end, or chunked.
    attr_reader :length

    def initialize(is_multithreaded)
      @constant = is_multithreaded ? MULTITHREADED : CONSTANT
      @form = FORMS[2]
    end

    # Reads `name NUL value NUL …` into the environment, and returns it. Raises BadRequest.
    #
    # Each step looks first whether there is anything to do: here is where a request's time goes.
    # @param payload is changed.
    def read(payload)
      env = variables(payload)
      # Last, so that no header can take their place.
      env.update(@constant)
      env.delete("HTTP_PROXY") # Programs take that variable for a setting (CVE-2016-5385).
      @is_kept = env.delete("SESSION_KEEP") == "1"
      @method = env["REQUEST_METHOD"]
      check_method unless METHODS.key?(@method)
      @is_chunked = false
      @length = @is_kept || @method == "GET" || @method == "HEAD" ? 0 : nil
      frame(env) if payload.include?("CONTENT_") || payload.include?("TRANSFER_ENCODING")
      split_target(env) unless payload.include?("\0PATH_INFO\0/") && !payload.include?("%")
      complete(env)
      env
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
      parts = parts_of(payload)
      env = parts.length <= FEW ? Hash[*parts] : parts.each_slice(2).to_h
      env = joined(parts) if env.length * 2 != parts.length
      raise BadRequest, "a header lacks its name" if env.key?("")

      refuse_line_ends(env) if payload.include?("\n") || payload.include?("\r")
      env
    end

    # As `split`, in two thirds of its time where a client sends as many variables as before. The
    # mark tells: it is what is left if there are neither more nor fewer.
    def parts_of(payload)
      payload << MARK
      parts = payload.unpack(@form)
      return parts if parts.pop == MARK

      parts = payload.split("\0", -1)
      raise BadRequest, "the headers do not end with a NUL" if parts.pop != MARK || parts.empty?
      raise BadRequest, "a header lacks its value" if parts.length.odd?

      @form = FORMS[parts.length] if parts.length <= FEW
      parts
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

    def check_method
      raise BadRequest, "REQUEST_METHOD is missing" if @method.to_s.empty?
      raise BadRequest, "the method #{@method} cannot be served" unless TOKEN.match?(@method)
    end

    # Both are there once, without HTTP_, or not at all, whichever name they came by: parents of the
    # 2.0 series treat them like any other header.
    def frame(env)
      one_name(env, "CONTENT_TYPE", "HTTP_CONTENT_TYPE")
      text = one_name(env, "CONTENT_LENGTH", "HTTP_CONTENT_LENGTH")
      @length = length_of(text) if text
      # It is about a connection: this one's if it is kept, else the front end's.
      coding = env.delete("HTTP_TRANSFER_ENCODING") or return
      return unless @is_kept
      raise BadRequest, "the transfer encoding is not chunked" unless coding.casecmp?("chunked")
      raise BadRequest, "the body has a length and is chunked" if text

      @is_chunked = true
      @length = nil
    end

    def one_name(env, name, other)
      given = env.delete(other)
      value = env[name]
      return value if given.nil? && value != ""

      both = [value, given].compact.uniq - [""]
      raise BadRequest, "there are two of #{name}" if both.length > 1

      both.empty? ? env.delete(name) && nil : env[name] = both[0]
    end

    def length_of(text)
      raise BadRequest, "CONTENT_LENGTH is not a length" unless /\A[0-9]{1,18}\z/.match?(text)

      text.to_i
    end

    # SCRIPT_NAME, PATH_INFO and QUERY_STRING: the path as it is in the URL, as applications expect
    # of Ruby's servers. A PATH_INFO that says something else was rewritten and stays.
    def split_target(env)
      path, query = env["REQUEST_URI"].to_s.sub(%r{\Ahttps?://[^/?]*}i, "").split("?", 2)
      env["QUERY_STRING"] ||= query || ""
      script = env["SCRIPT_NAME"].to_s.chomp("/")
      raw = path_below(script, path || "")
      given = env["PATH_INFO"]
      env["PATH_INFO"] = raw if given.nil? || (raw.include?("%") && decoded(raw) == given)
      env["PATH_INFO"] = "/" if script.empty? && env["PATH_INFO"].empty?
    end

    def path_below(script, path)
      return path if script.empty? || !path.start_with?(script)

      rest = path.byteslice(script.bytesize..-1)
      rest.empty? || rest.start_with?("/") ? rest : path
    end

    def decoded(path)
      path.gsub(/%([0-9A-Fa-f]{2})/n) { $1.hex.chr }
    end

    # What Rack wants to be there.
    def complete(env)
      is_secure = env.key?("HTTPS") && %w[on 1 true].include?(env["HTTPS"].downcase)
      env["rack.url_scheme"] = "https" if is_secure
      script = env["SCRIPT_NAME"] ||= ""
      env["SCRIPT_NAME"] = script.chomp("/") if script.end_with?("/")
      env["QUERY_STRING"] ||= ""
      name = env["SERVER_NAME"]
      env["SERVER_NAME"] = named_host(env) || "localhost" if name.nil? || name.empty?
      port = env["SERVER_PORT"]
      env["SERVER_PORT"] = is_secure ? "443" : "80" if port.nil? || port.empty?
      env["HTTP_VERSION"] = env["SERVER_PROTOCOL"] ||= "HTTP/1.1"
    end

    def named_host(env)
      env["HTTP_HOST"]&.slice(/\A(\[[0-9A-Fa-f:.]+\]|[^:]+)/)
    end
  end
end
