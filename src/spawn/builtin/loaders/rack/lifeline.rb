# The lifeline (PROTOCOL section 10): says once whether the application is ready, and then how many
# sessions are over. A thread listens to the server, since the others may be busy just then: `stack`
# asks what with, and the end tells the process to leave. A preloader says the same on its control
# socket at its start.
# frozen_string_literal: true

require_relative "failure"

module RackLoader
  class Lifeline
    STACK = "\0\6stack\0".b.freeze
    MAX_READ_BYTES = 1024

    def initialize(number)
      @io = IO.for_fd(number, "r+b", autoclose: false)
      @io.sync = true
      @io.close_on_exec = true
      @unsaid = 0
      @counting = Mutex.new
    end

    # What says of a thread which request it serves; nil: none.
    attr_writer :serving

    # Listens in a thread of its own, and calls the block there when the server's end closes.
    # Replaces an earlier watch.
    def watch
      stop_watching
      @watcher = Thread.new do
        listen
        yield
      end
      @watcher.name = "lifeline"
      Thread.pass until @watcher.stop? # It is to be the first that selects: see `listen`.
    end

    def stop_watching
      @watcher&.kill
      @watcher&.join
    end

    # In a fork: it is the parent's, and so is what is still to be said.
    def let_go
      @unsaid = 0
      @io.autoclose = true
      @io.close
    end

    def let_go?
      @io.closed?
    end

    # One array message.
    def tell(*elements)
      payload = elements.map { |element| "#{element}\0".b }.join
      @io.syswrite([payload.bytesize, payload].pack("na*"))
    rescue Errno::EPIPE, Errno::ECONNRESET
      nil # The server is gone; the watch sees to that.
    end

    # One more session is over. To be called before its socket is closed.
    def tell_done
      @counting.synchronize { @unsaid += 1 unless let_go? }
      told_all?
    end

    # Whether the server has been told of all sessions. Tells it what it has room for, and never
    # waits: a server that does not read must not stop the application.
    def told_all?
      return true if @unsaid.zero?

      @counting.synchronize do
        return @unsaid.zero? unless @unsaid.positive? && IO.select(nil, [@io], nil, 0)

        tell("done", @unsaid)
        @unsaid = 0
      end
      true
    end

    # `error_page` and the text it is made of.
    def tell_failure(text)
      tell("error_page")
      bytes = text.b
      @io.write([bytes.bytesize, bytes].pack("Na*"))
    rescue Errno::EPIPE, Errno::ECONNRESET
      nil
    end

    private

    # Until the server's end has closed. What is read goes past the buffer of `@io`, which others
    # write to. Not `readpartial` alone: one thread of Ruby's also waits for signals, the first that
    # selects, and that costs the other thread two microseconds a request.
    def listen
      heard = String.new
      loop do
        IO.select([@io])
        heard << @io.readpartial(MAX_READ_BYTES)
        Failure.tell_stacks(Thread.list - [Thread.current], @serving) while heard.slice!(STACK)
      end
    rescue EOFError, SystemCallError
      nil
    end
  end
end
