# The lifeline (PROTOCOL section 10): says once whether the application is ready, and from then on
# means something only by its end, which a thread waits for: the process may be busy just then.
# A preloader speaks the same way on its control socket.
# frozen_string_literal: true

module RackLoader
  class Lifeline
    def initialize(number)
      @io = IO.for_fd(number, "r+b", autoclose: false)
      @io.sync = true
      @io.close_on_exec = true
    end

    # Calls the block in a thread of its own when the server's end closes. Replaces an earlier
    # watch.
    def watch
      stop_watching
      @watcher = Thread.new do
        IO.select([@io]) # The server sends nothing on a lifeline: this is its end.
        yield
      end
      @watcher.name = "lifeline"
    end

    def stop_watching
      @watcher&.kill
      @watcher&.join
    end

    def to_io
      @io
    end

    # One array message.
    def tell(*elements)
      payload = elements.map { |element| "#{element}\0".b }.join
      @io.syswrite([payload.bytesize, payload].pack("na*"))
    rescue Errno::EPIPE, Errno::ECONNRESET
      nil # The server is gone; the watch sees to that.
    end

    # `error_page` and the text it is made of.
    def tell_failure(text)
      tell("error_page")
      bytes = text.b
      @io.write([bytes.bytesize, bytes].pack("Na*"))
    rescue Errno::EPIPE, Errno::ECONNRESET
      nil
    end
  end
end
