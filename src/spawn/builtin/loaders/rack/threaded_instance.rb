# An instance that serves several sessions at a time, each in a thread of its own: the main thread
# does what Instance does, but it gives requests to serving threads, of which there is a fixed
# number.
#
# A thread that has answered on a kept session waits there for its next request by itself. So where
# there are as many sessions as threads, the main thread sleeps, and a request costs what it costs
# with one thread. A request for which no thread is left calls one of those back, whose session the
# main thread waits for from then on.
#
# Only the main thread touches what Instance has, and handles signals. The application may raise in
# a serving thread, kill it or exit there: the others finish what they are at.
# frozen_string_literal: true

require_relative "instance"

module RackLoader
  class ThreadedInstance < Instance
    # Wakes those who wait for its other end to become readable.
    class Bell
      attr_reader :io

      def initialize
        @io, @rope = IO.pipe(binmode: true)
      end

      def ring(times = 1)
        @rope.write_nonblock("\0" * times, exception: false) # Full: it is ringing.
      end

      # Whether it rang; takes that many rings at most away.
      def rang?(times)
        @io.read_nonblock(times, exception: false).is_a?(String)
      end

      def close
        @io.close
        @rope.close
      end
    end

    MAX_RINGS = 1_024

    def initialize(*)
      super
      # Connections with their next request.
      @jobs = Thread::Queue.new
      # Connections that threads have given back, and what is to become of them.
      @returned = Thread::Queue.new
      # The threads by the connections they have.
      @lent = {}.compare_by_identity
      @calls = Bell.new # One ring takes one thread back from the session it waits on.
      @returns = Bell.new # For the main thread.
      @awaited << @returns.io
      # What ends the process when the others have finished: an exception, and when at the latest.
      @end = @end_by = nil
      @is_over = false
    end

    private

    def serve_all
      @threads.times { |number| start_thread("serving #{number + 1}") }
      begin
        round until over?
      rescue SignalException
        raise
      rescue Exception => e # rubocop:disable Lint/RescueException
        # From a thread of the application's, with abort_on_exception.
        end_with(e)
        retry
      end
      @is_over = true
      @jobs.close
      raise @end if @end
    ensure
      @is_over = true
    end

    def over?
      return true if @end_by&.<=(now)

      @is_leaving && @held.empty? && @lent.empty? && @returned.empty?
    end

    # The process is to end so, when the other threads are done.
    def end_with(error)
      @end ||= error
      @end_by ||= now + STUCK_SECONDS
      leave unless @listener.closed?
      @returns.ring
    end

    def patience(is_full)
      within = super
      @end_by ? [[within, @end_by - now].compact.min, 0].max : within
    end

    def full?
      @held.length + @lent.length >= MAX_HELD + @threads && !@is_told_to_leave
    end

    def stop_accepting
      super
      @calls.ring(@threads)
    end

    def request_of(thread)
      @lent.to_a.find { |_, its| its.equal?(thread) }&.first&.session&.serving
    end

    def forget
      super
      @lent.keys.reject(&:given_away?).each { |connection| connection.socket.close }
      @lent.clear
      [@calls, @returns].each(&:close)
    end

    def connection_on(socket)
      Connection.new(socket, String.new(capacity: Connection::READ_BYTES))
    end

    def serve(connection, payload)
      forget_about(connection)
      @lent[connection] = nil
      @jobs << [connection, payload]
      @calls.ring if @jobs.length > @jobs.num_waiting
    end

    # Takes back what threads have given back.
    def calm
      @returns.rang?(MAX_RINGS)
      until @returned.empty?
        connection, fate = @returned.pop
        @lent.delete(connection)
        hold(connection)
        settle(connection, fate)
      end
    end

    def start_thread(name)
      Thread.new { work }.name = name
    end

    def work
      has_ended = false
      while (connection, payload = @jobs.pop)
        @lent[connection] = Thread.current
        fate = serve_on(connection, payload)
        break if @lifeline.let_go? # A fork of the application's has come back.

        give_back(connection, fate)
        connection = nil
      end
      has_ended = true
    rescue SystemExit => e
      has_ended = true
      @lifeline.let_go? ? raise : end_with(e)
    ensure
      replace(connection) unless has_ended || @is_over || @lifeline.let_go?
    end

    # The application has ended the thread.
    def replace(connection)
      start_thread(Thread.current.name)
      return if connection.nil? || !@lent.key?(connection)

      give_back(connection, connection.session&.cut_off ? :given_away : :close)
    end

    # Serves a connection for as long as a request follows and no other connection needs the thread.
    def serve_on(connection, payload)
      fate = :keep
      while payload && fate == :keep
        return :close if payload == :end

        session = connection.session ||= Session.new(@app, connection, true)
        fate = session.serve(payload, !@is_leaving)
        payload = next_request(connection) if fate == :keep
      end
      fate
    rescue SystemExit
      give_back(connection, :close) unless @lifeline.let_go?
      raise
    rescue BadRequest => e
      Session.refuse(connection, e.message)
    end

    # The next request of a kept connection, or `:end`; nil: the main thread is to wait for it.
    def next_request(connection)
      connection.kept = true
      until connection.buffered? || @is_leaving || !@jobs.empty?
        readable, = IO.select([connection.socket, @calls.io])
        return connection.head if readable.include?(connection.socket)

        return if !@is_leaving && @calls.rang?(1)
      end
    end

    def give_back(connection, fate)
      return close_here(connection) if fate == :close

      @returned << [connection, fate]
      @returns.ring
    end

    # The client need not wait for the main thread.
    def close_here(connection)
      @lifeline.tell_done
      connection.close
      @lent.delete(connection)
      @returns.ring if @is_leaving || !@lifeline.told_all?
    end
  end
end
