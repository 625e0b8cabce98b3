# What is done on a connection: one request after the other, each from its head to the end of its
# answer. Whatever the application does with it, short of `exit`, the process goes on.
#
# It and what it reads and writes with are made once for a connection and used for all its requests:
# objects of more than three variables are dear in Ruby.
# frozen_string_literal: true

require_relative "failure"
require_relative "input"
require_relative "request"
require_relative "response"

module RackLoader
  # `rack.hijack` of one request: takes the connection over (Rack's specification, Hijacking).
  class Hijack
    def initialize(session, env)
      @session = session
      @env = env
    end

    def call
      @session.hijack(@env)
    end

    # Applications like to show their environment, which this is a part of.
    def inspect
      "#<#{self.class}>"
    end
  end

  class Session
    # Refuses a request that cannot be understood. Without a length, or the client would take the
    # connection for one that goes on.
    def self.refuse(connection, reason)
      connection.write("Status: 400 Bad Request\r\ncontent-type: text/plain\r\n\r\n" \
                       "Bad request: #{reason.b}.\n")
      :empty
    rescue ClientGone
      :close
    end

    # @param is_multithreaded whether others like it are at work beside it.
    def initialize(app, connection, is_multithreaded)
      @app = app
      @connection = connection
      @request = Request.new(is_multithreaded)
      @response = Response.new(connection)
    end

    # Answers the request whose head is given. Returns what is to become of the connection: `:keep`,
    # `:close`, `:empty` (the client may still be sending) or `:given_away`.
    # @param may_keep whether it may be kept, if the client wants it.
    def serve(payload, may_keep)
      @env = env = @request.read(payload)
      @body = Body.new(@connection, @request) unless @request.length == 0
      @response.reset(@request, may_keep, @body)
      answer(env)
    rescue BadRequest => e
      Session.refuse(@connection, e.message)
    ensure
      @input.release if @input.is_a?(RewindableInput)
      @env = @body = @input = nil
    end

    # What it is at, for the log: without the query, which may hold what is nobody's business. Nil:
    # nothing. Other threads ask.
    def serving
      env = @env or return
      path = env["REQUEST_URI"].to_s.split("?", 2).first || env["PATH_INFO"].to_s
      "#{env['REQUEST_METHOD']} #{path.dump}"
    end

    # The application has ended the thread it was called in: a 500, if that can still be said.
    def cut_off
      fail_with(RuntimeError.new("the application ended the thread that served it")) == :given_away
    end

    # Gives the connection to the application, whose request this was.
    def hijack(env)
      raise IOError, "the request is over, and its connection with it" unless @env.equal?(env)

      env["rack.hijack_io"] = @connection.give_away
    end

    private

    def answer(env)
      env["rack.errors"] = $stderr
      env["rack.input"] = @body ? @input = input(@request.length) : NO_INPUT
      env["rack.hijack"] = Hijack.new(self, env)
      status, headers, body = @app.call(env)
      return :given_away if @connection.given_away?

      fate(@response.deliver(status, headers, body, @input))
    rescue ClientGone
      return :given_away if @connection.given_away?

      @response.begun? ? :close : Session.refuse(@connection, "the body ended early")
    rescue Exception => e # rubocop:disable Lint/RescueException
      # Signals come to the main thread: in another one it is the application that raises.
      raise if e.is_a?(SignalException) && Thread.current == Thread.main

      fail_with(e)
    end

    # What is there as a whole already needs nothing of ours.
    def input(length)
      return StringIO.new(@body.read(length, String.new)) if length && @connection.holds?(length)

      input = Input.new(@body)
      ResponseHead::IS_RACK_3 ? input : RewindableInput.new(input)
    end

    def fate(is_kept)
      return :given_away if @connection.given_away?
      return :empty unless @body.nil? || @body.done?

      is_kept ? :keep : :close
    end

    # An answer that has begun is cut: the client must not take it for whole.
    def fail_with(error)
      $stderr.write("#{Failure.text(error)}\n") unless error.is_a?(SystemExit)
      return :given_away if @connection.given_away?
      return :close if @response.begun?
      raise error if error.is_a?(BadRequest)

      is_kept = @response.deliver(500, { "content-type" => "text/plain" },
                                  ["Internal Server Error\n"], nil)
      fate(is_kept)
    rescue ClientGone
      :close
    ensure
      raise error if error.is_a?(SystemExit)
    end
  end
end
