# One request on a connection: from its head to the end of its answer. Whatever the application does
# with it, short of `exit`, the process goes on.
# frozen_string_literal: true

require_relative "failure"
require_relative "input"
require_relative "request"
require_relative "response"

module RackLoader
  class Session
    # Refuses a request that cannot be understood.
    def self.refuse(connection, reason)
      body = "Bad request: #{reason.b}.\n"
      connection.write("Status: 400 Bad Request\r\ncontent-type: text/plain\r\n" \
                       "content-length: #{body.bytesize}\r\n\r\n#{body}")
      :empty
    rescue ClientGone
      :close
    end

    def initialize(app, connection)
      @app = app
      @connection = connection
    end

    # Answers the request whose head is given. Returns what is to become of the connection: `:keep`,
    # `:close`, `:empty` (the client may still be sending) or `:given_away`.
    # @param may_keep whether it may be kept, if the client wants it.
    def serve(payload, may_keep)
      @request = Request.new(payload)
      @body = Body.new(@connection, @request)
      @response = Response.new(@connection, @request, may_keep && @request.kept?)
      answer
    rescue BadRequest => e
      Session.refuse(@connection, e.message)
    ensure
      @input.release if @input.is_a?(RewindableInput)
    end

    # As `rack.hijack`: the application takes the connection over (Rack's specification, Hijacking).
    def call
      @was_hijacked = true
      @request.env["rack.hijack_io"] = @connection.give_away
    end

    # Applications like to show their environment, which this is a part of.
    def inspect
      "#<#{self.class}>"
    end

    private

    def answer
      env = @request.env
      env["rack.errors"] = $stderr
      env["rack.input"] = @input = input
      env["rack.hijack"] = self
      status, headers, body = @app.call(env)
      return :given_away if @was_hijacked

      fate(@response.deliver(status, headers, body))
    rescue ClientGone
      @response.begun? ? :close : Session.refuse(@connection, "the body ended early")
    rescue SignalException
      raise
    rescue Exception => e # rubocop:disable Lint/RescueException
      fail_with(e)
    end

    # What is there as a whole already needs nothing of ours.
    def input
      length = @request.length
      return StringIO.new(length.zero? ? String.new : @body.read(length)) if whole?(length)

      input = Input.new(@body)
      ResponseHead::IS_RACK_3 ? input : RewindableInput.new(input)
    end

    def whole?(length)
      length && @connection.holds?(length)
    end

    def fate(is_kept)
      return :given_away if @response.given_away?
      return :empty unless @body.done? || @body.drain

      is_kept ? :keep : :close
    end

    # An answer that has begun is cut: the client must not take it for whole.
    def fail_with(error)
      $stderr.write("#{Failure.text(error)}\n") unless error.is_a?(SystemExit)
      return :given_away if @was_hijacked || @response.given_away?
      return :close if @response.begun?
      raise error if error.is_a?(BadRequest)

      is_kept = @response.deliver(500, { "content-type" => "text/plain" },
                                  ["Internal Server Error\n"])
      fate(is_kept)
    rescue ClientGone
      :close
    ensure
      raise error if error.is_a?(SystemExit)
    end
  end
end
