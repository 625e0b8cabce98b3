# Has loaded the code once and forks instances of it, as the server asks on descriptor 4: `fork` and
# a number, then three descriptors: listener, lifeline, output (PROTOCOL section 10, `smart`).
#
# It holds nothing of its instances, and they hold nothing of it. It says which of them have ended.
# When descriptor 4 ends it ends at once; they have lifelines of their own.
# frozen_string_literal: true

require "socket"
require_relative "instance"
require_relative "lifeline"

module RackLoader
  class Preloader
    # How long no order comes, behind the first, before it warms up, which takes 0.15 s.
    CALM_SECONDS = 0.1

    # @param threads of each instance: they are made after the fork.
    def initialize(app, lifeline, threads)
      @app = app
      @threads = threads
      @kind = Instance.of(threads)
      @lifeline = lifeline
      @control = UNIXSocket.for_fd(4)
      @control.autoclose = false
      @server = Process.ppid
      @children = []
      @is_reporting = false
    end

    # Announces itself, and takes orders until the server has gone.
    def run
      mend_output
      @lifeline.stop_watching
      Process.setproctitle("rack preloader: #{Dir.pwd}")
      Signal.trap("INT", "SYSTEM_DEFAULT")
      @inherited_handler = Signal.trap("CHLD") { report_ends }
      @lifeline.tell("ready", "1")
      # Whoever asks for the first instances has waited long enough; later ones gain by it.
      take_order
      take_order while IO.select([@control], nil, nil, CALM_SECONDS)
      warm_up
      loop { take_order }
    end

    private

    # The application may have closed some of descriptors 0 to 2. Forking flushes $stdout and
    # $stderr, and what is received must not get those numbers.
    def mend_output
      loop do
        null = File.open(File::NULL, "r+")
        break null.close if null.fileno > 2

        null.autoclose = false
      end
      $stdout = stream(1) if closed?($stdout)
      $stderr = stream(2) if closed?($stderr)
    end

    def closed?(stream)
      stream.respond_to?(:closed?) && stream.closed?
    end

    def stream(number)
      IO.for_fd(number, "w", autoclose: false).tap { |stream| stream.sync = true }
    end

    # What is shared with the children stays shared only while nobody writes to it: the garbage
    # collector does least where everything is old and in its place.
    def warm_up
      load_reasons
      return Process.warmup if Process.respond_to?(:warmup) # Ruby 3.3

      4.times { GC.start }
    end

    # Once for all instances; each can do it itself.
    def load_reasons
      ResponseHead.reason_of(404)
    rescue SystemCallError, LoadError
      nil # There are no descriptors, for example.
    end

    def take_order
      name, number = message
      abort("preloader: the order #{name.inspect} is none") unless name == "fork" && number

      ends = received_ends
      fork_instance(number, ends)
    ensure
      ends&.each(&:close)
    end

    # Exactly its bytes: a read beyond them would lose the descriptors behind.
    def message
      exactly(exactly(2).unpack1("n")).split("\0")
    end

    def exactly(length)
      bytes = String.new
      while bytes.bytesize < length
        piece = @control.recv(length - bytes.bytesize)
        leave if piece.nil? || piece.empty?
        bytes << piece
      end
      bytes
    rescue Errno::ECONNRESET
      leave
    end

    # What the code has started while it was loaded is the instances' too: it stays for them while
    # there is a server to end it. One that is killed closes its end a moment before it is gone.
    def leave
      sleep(0.1)
      Process.kill("TERM", 0) if Process.ppid != @server && Process.getpgrp == Process.pid
      exit!(0)
    end

    # Listener, lifeline and output; nil where there are no numbers left for them.
    def received_ends
      return Array.new(3) { @control.recv_io } if free_numbers?(3)

      exactly(3) # A plain read drops what the bytes carry.
      nil
    end

    # Ruby's recv_io reads another message when a descriptor did not fit, which would be lost.
    def free_numbers?(count)
      taken = []
      count.times { taken << File.open(File::NULL) }
      true
    rescue Errno::EMFILE, Errno::ENFILE
      false
    ensure
      taken.each(&:close)
    end

    def fork_instance(number, ends)
      raise Errno::EMFILE, "receiving descriptors" if ends.nil?

      pid = fork { become_instance(*ends) }
      # Before it is told: a listener that we hold would outlive the instance.
      ends.each(&:close)
      @lifeline.tell("forked", number, pid.to_s)
      @children << pid
      report_ends # Of those that ended before they were listed.
    rescue StandardError, NoMemoryError => e
      ends&.each(&:close)
      @lifeline.tell("fork_failed", number, "#{e.class}: #{e.message}".tr("\0", "?")[0, 500])
    end

    def become_instance(listener, lifeline, output)
      Process.setpgid(0, 0)
      Signal.trap("CHLD", @inherited_handler || "DEFAULT")
      # By number: the application may have put something else into $stdout.
      [1, 2].each { |number| stream(number).reopen(output) }
      IO.for_fd(3, autoclose: false).reopen(listener)
      @control.reopen(lifeline)
      [listener, lifeline, output].each(&:close)
      Process.setproctitle("rack: #{Dir.pwd}")
      @kind.new(@app, 3, Lifeline.new(4), @threads).run
    end

    # Also called by the signal's handler, which may come while it is at it.
    def report_ends
      @has_ended = true
      until @is_reporting || !@has_ended
        @is_reporting = true
        @has_ended = false
        report_each
        @is_reporting = false
      end
    end

    def report_each
      @children.reject! do |pid|
        status = ended(pid) or next
        @lifeline.tell("exited", pid.to_s, status.to_s)
        true
      end
    end

    # As of waitpid(2): the exit code, or minus the number of the signal. Nil while it runs.
    def ended(pid)
      _, status = Process.wait2(pid, Process::WNOHANG)
      status && (status.exitstatus || -status.termsig)
    rescue Errno::ECHILD
      0 # The application has reaped it.
    end
  end
end
