# An instance that serves several sessions at a time, each in a thread, of which it has a number.
#
# One thread at a time leads: it does what Instance does, and calls the application itself. While it
# is in there another may lead; so one that comes back finds that it still leads, and goes on as if
# it were alone, or that another does, to whom it gives the session back. To wake a thread costs as
# much as a short request, and two that take turns with Ruby's lock pay at each system call. So
# nobody is woken for a request, unless the one before was not a short one: the main thread looks
# now and then whether the application still has the thread that led, and calls another if so.
#
# Only who leads touches what Instance has; the main thread handles signals. The application may
# raise in a serving thread, kill it or exit there: the others finish what they are at.
# frozen_string_literal: true

require_relative "instance"

module RackLoader
  class ThreadedInstance < Instance
    # Wakes the thread that waits for its other end to become readable.
    class Bell
      MAX_RINGS = 1_024

      attr_reader :io

      def initialize
        @io, @rope = IO.pipe(binmode: true)
      end

      def ring
        @rope.write_nonblock("\0", exception: false) # Full: it is ringing.
      end

      def calm
        @io.read_nonblock(MAX_RINGS, exception: false)
      end

      def close
        @io.close
        @rope.close
      end
    end

    # How long a request is a short one: a thread that is woken for a longer one costs 5 % more.
    SHORT_SECONDS = 0.000_2
    # How often the main thread looks: it costs a hundredth of a processor.
    TICK_SECONDS = 0.002
    # After so many ticks without a request the main thread goes to sleep.
    IDLE_TICKS = 3

    def initialize(*)
      super
      # Who has it leads. It is free while the one that led is in the application.
      @lead = Mutex.new
      # Sockets whose turn is to come.
      @ready = []
      # The connection for which the one that led is in the application, and its thread.
      @current = @leader = nil
      # The threads of those that another has taken the lead from, by their connections.
      @lent = {}.compare_by_identity
      # Connections that such threads have given back, and what is to become of them.
      @returned = Thread::Queue.new
      @bell = Bell.new # For who leads.
      @awaited << @bell.io
      # How often the application was called, and whether it took long when it returned last.
      @calls = 0
      @is_slow = false
      # Threads that nobody needs, and what they wait for.
      @resting = {}.compare_by_identity
      @summons = Thread::Queue.new
      # Whether the main thread looks each tick, and what it waits for if not.
      @is_watching = false
      @idle_ticks = 0
      @alarm = Thread::Queue.new
      # What ends the process when the others have finished: an exception, and when at the latest.
      @end = @end_by = nil
      @is_over = false
    end

    private

    # What the main thread does.
    def serve_all
      @threads.times { |number| start_thread("serving #{number + 1}") }
      begin
        watch until @is_over || @end_by&.<=(now)
      rescue SignalException
        raise
      rescue Exception => e # rubocop:disable Lint/RescueException
        # From a thread of the application's, with abort_on_exception.
        end_with(e)
        retry
      end
      raise @end if @end
    ensure
      finish
    end

    # Lets a tick pass, and calls a thread where the one that led has not come back since. Sleeps
    # where there are no requests.
    def watch
      return @alarm.pop unless @is_watching || @end

      calls = @calls
      sleep(TICK_SECONDS)
      return @idle_ticks = 0 if calls != @calls

      summon if unled?
      @idle_ticks += 1
      return if @idle_ticks < IDLE_TICKS

      @is_watching = false
      @is_watching = unled? # Looked at behind that: others do it the other way round.
    end

    def unled?
      !@lead.locked? && !@resting.empty?
    end

    def start_watching
      @is_watching = true
      @idle_ticks = 0
      @alarm << true
    end

    def summon
      @summons << true if @summons.empty?
    end

    def finish
      @is_over = true
      @threads.times { @summons << true }
      @alarm << true
    end

    # The process is to end so, when the other threads are done.
    def end_with(error)
      @end ||= error
      @end_by ||= now + STUCK_SECONDS
      leave
      @alarm << true
    end

    def full?
      @held.length + @lent.length >= MAX_HELD + @threads && !@is_told_to_leave
    end

    def unused?
      @held.empty? && @lent.empty?
    end

    def request_of(thread)
      connection_of(thread)&.session&.serving
    end

    def connection_of(thread)
      current = @current
      return current if current && @leader.equal?(thread)

      @lent.to_a.find { |_, its| its.equal?(thread) }&.first
    end

    def forget
      super
      @lent.keys.reject(&:given_away?).each { |connection| connection.socket.close }
      @lent.clear
      @bell.close
    end

    def start_thread(name)
      Thread.new do
        Thread.current.name = name
        work
      end
    end

    def work
      has_ended = false
      take_part until @is_over || @lifeline.let_go? # The latter: a fork has come back.
      has_ended = true
    rescue Exception => e # rubocop:disable Lint/RescueException
      has_ended = true
      @lifeline.let_go? ? raise : end_with(e)
    ensure
      @resting.delete(Thread.current)
      replace unless has_ended || @is_over || @lifeline.let_go?
    end

    # The application has ended the thread.
    def replace
      connection = connection_of(Thread.current)
      take_back(connection, connection.session.cut_off ? :given_away : :close) if connection
      @lead.unlock if @lead.owned?
      start_thread(Thread.current.name)
    end

    def take_part
      @resting[Thread.current] = true
      @summons.pop until @lead.try_lock || @is_over
      @resting.delete(Thread.current)
      lead if @lead.owned?
    end

    # Until another leads, or all is over.
    def lead
      depose
      tidy_up
      until over?
        @ready = wait if @ready.empty?
        while (socket = @ready.shift)
          see_to(socket)
          return unless @lead.owned?
        end
        tidy_up
      end
      finish
    ensure
      @lead.unlock if @lead.owned?
    end

    # The connection of the one that led is its own affair from now on.
    def depose
      connection = @current or return
      forget_about(connection)
      @lent[connection] = @leader
      @current = nil
    end

    def tidy_up
      take_back_all unless @returned.empty?
      super
    end

    def over?
      @is_leaving && unused?
    end

    # Calls the application, with the lead for others to take.
    def serve(connection, payload)
      session = connection.session ||= Session.new(@app, connection, true)
      may_keep = !@is_leaving && @awaited.length <= MAX_HELD
      @current = connection
      @leader = Thread.current
      @calls += 1
      @lead.unlock
      offer_lead unless @resting.empty?
      fate = stay(connection, call(session, payload, may_keep))
      take_back(connection, fate) unless @lifeline.let_go?
    rescue SystemExit
      take_back(connection, :close) unless @lifeline.let_go?
      raise
    end

    def call(session, payload, may_keep)
      begun = now
      fate = session.serve(payload, may_keep)
      @is_slow = now - begun > SHORT_SECONDS
      fate
    end

    # Serves what follows on a connection within a tick, if another leads and requests are long
    # ones: to give it back, and be called again, would wake two threads more.
    def stay(connection, fate)
      arrived = nil
      while fate == :keep && @is_slow && @lead.locked? && !@is_leaving && !connection.buffered?
        break unless IO.select([connection.socket], nil, nil, TICK_SECONDS)

        payload = connection.head(arrived ||= String.new(capacity: Connection::READ_BYTES))
        break if payload.nil?
        return :close if payload == :end

        fate = call(connection.session, payload, !@is_leaving)
      end
      fate
    rescue BadRequest => e
      Session.refuse(connection, e.message)
    end

    def offer_lead
      @is_slow ? summon : @is_watching || start_watching
    end

    # What becomes of a connection that a thread has served.
    def take_back(connection, fate)
      return give_back(connection, fate) unless @lead.try_lock

      if @current.equal?(connection) # Nobody has led since.
        @current = nil
      else
        depose
        @lent.delete(connection)
        hold(connection)
      end
      settle(connection, fate)
    end

    def give_back(connection, fate)
      if fate == :close # The client need not wait for who leads.
        @lifeline.tell_done
        connection.close
        @returned << [connection, :closed]
        @bell.ring if @is_leaving || @leaves_unused || !@lifeline.told_all?
      else
        @returned << [connection, fate]
        @bell.ring
      end
    end

    def wake
      @bell.ring
    end

    def calm
      @bell.calm
    end

    def take_back_all
      until @returned.empty?
        connection, fate = @returned.pop
        @lent.delete(connection)
        next if fate == :closed

        hold(connection)
        settle(connection, fate)
      end
    end
  end
end
