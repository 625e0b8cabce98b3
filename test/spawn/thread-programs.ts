/**
 * Programs for the tests of instances with threads, the same in Ruby and in Python; the path
 * chooses what one does:
 *
 * `/facts` says whether there are several threads and processes, and what its thread is called;
 * `/process` says its number; `/meet` answers when four requests are in it at once; `/wait` when
 * there is a file `go-on`, and `/stuck` never, both of which say that they are there; `/pause`
 * answers after a millisecond; `/raise` raises; `/exit` exits with status 3; `/fork` has a child
 * that comes back from it, and says how that ended; `/body` has a body that notes in which thread
 * it is closed, and `/closed` says what was noted; `/echo` answers the request's body, in two
 * readings; `/left` leaves a thread; in Ruby `/signal` raises as a signal would, `/kill` ends its
 * thread, `/throw` throws what nobody catches, `/abort` raises in a thread of its own that is to
 * end the process, and `/hijack` keeps its connection.
 */
export type ThreadedKind = "rack" | "wsgi";

export const threadPrograms: Readonly<Record<ThreadedKind, Readonly<Record<string, string>>>> = {
  rack: {
    "config.ru": `
$lock, $change, $in, $met = Mutex.new, ConditionVariable.new, 0, 0
$closed, $kept = [], []
class Noted
  def initialize
    @thread = Thread.current
  end
  def each
    yield "noted"
  end
  def close
    $closed << (Thread.current == @thread)
  end
end
def meet
  $lock.synchronize do
    round = $met
    ($in += 1) == 4 ? ($in, $met = 0, $met + 1) && $change.broadcast : nil
    $change.wait($lock) while $met == round
  end
end
def wait_in_here
  puts "waits in #{$$}"
  sleep 0.005 until File.exist?("go-on")
end
run lambda { |env|
  text = "ok"
  case env["PATH_INFO"]
  when "/facts"
    text = [env["rack.multithread"], env["rack.multiprocess"], Thread.current.name[0, 7]].inspect
  when "/process" then text = $$.to_s
  when "/meet" then meet
  when "/wait" then wait_in_here
  when "/stuck"
    puts "is stuck"
    sleep
  when "/pause" then sleep 0.001
  when "/raise" then raise "raised"
  when "/signal" then raise SignalException, "TERM"
  when "/exit" then exit 3
  when "/fork"
    child = fork
    text = "status #{Process.wait2(child)[1].exitstatus}" if child
  when "/body" then next [200, {}, Noted.new]
  when "/closed" then text = $closed.inspect
  when "/echo"
    first = env["rack.input"].read(1_000)
    text = first + env["rack.input"].read
  when "/left" then Thread.new { sleep }
  when "/kill" then Thread.current.kill
  when "/throw" then throw :nobody
  when "/abort"
    Thread.new do
      Thread.current.abort_on_exception = true
      Thread.current.report_on_exception = false
      raise "to end it all"
    end
  when "/hijack"
    $kept << env["rack.hijack"].call
    next [200, {}, []]
  end
  [200, {}, [text]]
}
`,
  },
  wsgi: {
    "wsgi.py": `
import os, sys, threading, time
four = threading.Barrier(4)
closed = []
class Noted:
    def __init__(self):
        self.thread = threading.get_ident()
    def __iter__(self):
        yield b"noted"
    def close(self):
        closed.append(threading.get_ident() == self.thread)
def wait_in_here():
    sys.stdout.write(f"waits in {os.getpid()}\\n")
    while not os.path.exists("go-on"):
        time.sleep(0.005)
def application(environ, start):
    path, text = environ["PATH_INFO"], b"ok"
    if path == "/facts":
        several = [environ["wsgi.multithread"], environ["wsgi.multiprocess"]]
        text = str([*several, threading.current_thread().name[:7]]).encode()
    elif path == "/process":
        text = b"%d" % os.getpid()
    elif path == "/meet":
        four.wait()
    elif path == "/wait":
        wait_in_here()
    elif path == "/stuck":
        sys.stdout.write("is stuck\\n")
        threading.Event().wait()
    elif path == "/pause":
        time.sleep(0.001)
    elif path == "/raise":
        raise RuntimeError("raised")
    elif path == "/exit":
        sys.exit(3)
    elif path == "/fork":
        child = os.fork()
        if child:
            text = b"status %d" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    elif path == "/closed":
        text = str(closed).encode()
    elif path == "/echo":
        text = environ["wsgi.input"].read(1_000)
        text += environ["wsgi.input"].read()
    elif path == "/left":
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    start("200 OK", [("Content-Type", "text/plain")])
    return Noted() if path == "/body" else [text]
`,
  },
};
