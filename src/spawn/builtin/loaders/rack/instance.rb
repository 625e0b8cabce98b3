# Serves sessions, one at a time. While it has none it waits for all that can come: a new
# connection, the next request on one that is kept, the rest of a head or of an unwanted body.
# (threaded_instance.rb serves several at a time.)
#
# It is told to leave in one way, whoever tells it: the listener is shut down. That wakes it,
# refuses clients that come later, and lets it still accept those who were queueing. When the
# lifeline has ended it leaves after the last session: where the server has died, clients have no
# others yet; else it has asked for those that are kept.
# frozen_string_literal: true

require "socket"
require_relative "session"

module RackLoader
  class Instance
    # Connections held at once; beyond them none is kept and none accepted.
    MAX_HELD = 500
    # How long the rest of a body nobody wants is read: closing at once would turn the answer's end
    # into ECONNRESET for a client that is still sending.
    LINGER_SECONDS = 2
    # After the lifeline's end no session may hold the process for longer.
    STUCK_SECONDS = 10
    # How often a leaving instance looks whether the application has closed what it took over.
    GIVEN_AWAY_SECONDS = 0.05
    # Until descriptors, or room in the lifeline, may be free again.
    SHORTAGE_SECONDS = 0.05

    # The kind of instance that serves so many sessions at a time.
    def self.of(threads)
      return self if threads == 1

      require_relative "threaded_instance"
      ThreadedInstance
    end

    # @param number the listening socket's descriptor
    def initialize(app, number, lifeline, threads)
      @app = app
      @threads = threads
      @listener = UNIXServer.for_fd(number)
      @listener.close_on_exec = true
      @lifeline = lifeline
      # Everything that can become readable: the listener and the sockets of connections.
      @awaited = [@listener]
      # The connections by their sockets. (`select` takes them too, by way of `to_io`, but slowly.)
      @held = {}.compare_by_identity
      # Sockets on which the next request has been read already.
      @eager = []
      @lingering = 0
      # Sockets that the application has taken over; those it has forgotten must not stay.
      @given_away = ObjectSpace::WeakMap.new
      @is_told_to_leave = false
      @is_leaving = false
      @leaves_unused = false
    end

    # Announces it, and serves until it is told to leave and all sessions are over.
    def run
      Signal.trap("USR1") { leave }
      Signal.trap("INT", "SYSTEM_DEFAULT") # Ruby's own would print a backtrace.
      @lifeline.watch do
        @leaves_unused = true
        leave if unused? # Looked at behind that: others do it the other way round.
        wake
        sleep(STUCK_SECONDS)
        end_group
        exit!(0)
      end
      @lifeline.serving = method(:request_of)
      leave_forks_nothing
      @lifeline.tell("ready", @threads.to_s, "done")
      serve_all
      sleep(GIVEN_AWAY_SECONDS) until @given_away.keys.all?(&:closed?)
      end_group
    end

    private

    def serve_all
      round until @is_leaving && @awaited.empty?
    end

    # What a thread serves, as text; nil: nothing. Called in another.
    def request_of(thread)
      return unless thread.equal?(Thread.main)

      @held.values.filter_map { |connection| connection.session&.serving }.first
    end

    # What the application forks keeps no copy of our descriptors (Ruby 3.1): it may live on, and
    # the server would wait for the lifeline's end. A fork that returns to the loop leaves it.
    def leave_forks_nothing
      forget = method(:forget)
      hook = Module.new do
        define_method(:_fork) { super().tap { |pid| forget.call if pid.zero? } }
      end
      Process.singleton_class.prepend(hook)
    end

    def forget
      return if @lifeline.let_go? # A fork of a fork.

      held = @awaited.reject { |socket| @held[socket]&.given_away? }
      # Not Connection#close, which would end the parent's connection too.
      @lifeline.let_go
      held.each { |socket| socket.tap { |io| io.autoclose = true }.close }
      @awaited.clear
      @held.clear
      @is_leaving = true
    end

    # What the application has started and left running goes too. The server sees to that, if it
    # is still there. A fork that has come back is not the group's leader.
    def end_group
      return unless Process.getpgrp == Process.pid

      usual = Signal.trap("TERM", "IGNORE")
      Process.kill("TERM", 0)
      Signal.trap("TERM", usual)
    end

    # Called by a signal's handler and by another thread, perhaps after the listener's end.
    def leave
      @is_told_to_leave = true
      @listener.shutdown(Socket::SHUT_RDWR)
    rescue IOError
      nil
    end

    # Has whoever waits for sockets tidy up.
    def wake; end

    # Everybody who is ready gets one turn.
    def round
      wait.each { |socket| see_to(socket) }
      tidy_up
    end

    # Sockets with something to do.
    def wait
      is_full = full?
      awaited = is_full ? @awaited - [@listener] : @awaited
      ready = IO.select(awaited, nil, nil, patience(is_full))&.first || []
      @eager.empty? ? ready : ready | @eager.slice!(0..-1)
    end

    def see_to(socket)
      connection = @held[socket]
      if connection
        attend(connection)
      elsif !socket.equal?(@listener)
        calm
      elsif !socket.closed?
        accept
      end
    end

    def tidy_up
      close_overdue if @lingering.positive?
      close_idle if @is_leaving
      leave if @leaves_unused && unused? && !@is_told_to_leave
    end

    # Whether there is no session.
    def unused?
      @held.empty?
    end

    def patience(is_full)
      return 0 unless @eager.empty?
      return SHORTAGE_SECONDS unless @lifeline.told_all?

      LINGER_SECONDS / 4.0 if is_full || @lingering.positive?
    end

    # Those who come wait in the backlog; whoever is held already can still be told that we leave.
    def full?
      @awaited.length > MAX_HELD && !@is_told_to_leave
    end

    def accept
      socket = @listener.accept_nonblock(exception: false)
      return (stop_accepting if @is_told_to_leave) if socket == :wait_readable

      attend(hold(Connection.new(socket))) # Its request is there as a rule.
    rescue Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM => e
      warn "accepting a session: #{e.message}"
      sleep(SHORTAGE_SECONDS)
    end

    # What else was waited for has come, or a socket is ready that has been dropped since.
    def calm; end

    # Waits for what comes on a connection.
    def hold(connection)
      @awaited << connection.socket
      @held[connection.socket] = connection
    end

    # It was shut down, and nobody queues any more.
    def stop_accepting
      @is_leaving = true
      @awaited.delete(@listener)
      @listener.close
    end

    def attend(connection)
      return discard(connection) if connection.closes_at

      payload = connection.head
      return if payload.nil?

      payload == :end ? settle(connection, :close) : serve(connection, payload)
    rescue BadRequest => e
      settle(connection, Session.refuse(connection, e.message))
    end

    def serve(connection, payload)
      may_keep = !@is_leaving && @awaited.length <= MAX_HELD
      session = connection.session ||= Session.new(@app, connection, false)
      settle(connection, session.serve(payload, may_keep))
    end

    def settle(connection, fate)
      case fate
      when :keep
        connection.kept = true
        @eager << connection.socket if connection.buffered?
      when :empty then linger(connection)
      when :close then drop(connection)
      when :given_away
        forget_about(connection)
        @given_away[connection.socket] = true
        @lifeline.tell_done
      end
    end

    def forget_about(connection)
      @awaited.delete(connection.socket)
      @held.delete(connection.socket)
    end

    def drop(connection)
      forget_about(connection)
      @lifeline.tell_done unless connection.closes_at # Then it was told before.
      connection.close
    end

    def linger(connection)
      @lifeline.tell_done
      connection.end_writing
      connection.closes_at = now + LINGER_SECONDS
      @lingering += 1
      discard(connection)
    end

    def discard(connection)
      return unless connection.read_now(Body::READ_BYTES) == :end

      @lingering -= 1
      drop(connection)
    end

    def close_overdue
      overdue = @held.each_value.select { |connection| connection.closes_at&.<=(now) }
      @lingering -= overdue.length
      overdue.each { |connection| drop(connection) }
    end

    # They wait for a request that may never come; their clients can tell.
    def close_idle
      idle = @held.each_value.select { |connection| connection.kept && !connection.closes_at }
      idle.each { |connection| drop(connection) unless connection.buffered? }
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
