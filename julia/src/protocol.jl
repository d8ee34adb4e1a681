# What the caller sees while a run goes on: one JSON object per line on stdout, logs on stderr. And what the caller may
# say: a file `stop` in the run directory.

const OUTPUT = ReentrantLock()

"""Write one line of JSON to stdout; from any thread."""
function emit(; fields...)
    line = "{" * join(("\"$name\":$(json(value))" for (name, value) in pairs(fields)), ",") * "}\n"
    lock(OUTPUT) do
        write(stdout, line)
        flush(stdout)
    end
end

json(value::Real) = string(value)
json(value::AbstractString) = "\"" * join(map(json_character, collect(value))) * "\""
json_character(c) = c in ('"', '\\') ? "\\$c" : c < ' ' ? "\\u" * string(Int(c), base = 16, pad = 4) : string(c)

"""Write one line to stderr."""
log_line(message) = println(stderr, "StochasticCollapse: ", message)

"""
The progress of a run, shared by all threads, and whether it shall stop. Every task calls `look!` every few
microseconds of work.
"""
struct Monitor
    stop_file::String
    stopped::Threads.Atomic{Bool}
    levels::Int
    levels_done::Threads.Atomic{Int}
    steps::Int  # trajectory-steps, here and below
    steps_done::Threads.Atomic{Int}
    next_look::Threads.Atomic{UInt64}  # on the clock of time_ns()
end

Monitor(dir, levels, levels_done, steps, steps_done) =
    Monitor(joinpath(dir, "stop"), Threads.Atomic{Bool}(isfile(joinpath(dir, "stop"))), levels,
            Threads.Atomic{Int}(levels_done), steps, Threads.Atomic{Int}(steps_done), Threads.Atomic{UInt64}(0))

const LOOK_INTERVAL = UInt64(200_000_000)  # ns

"""Count `steps` trajectory-steps as done; five times a second report and look for the file `stop`. True: go on."""
function look!(monitor::Monitor, steps)
    GC.safepoint()  # the hot loops have none, and other threads may be waiting for this one to collect garbage
    Threads.atomic_add!(monitor.steps_done, steps)
    due, now = monitor.next_look[], time_ns()
    if now >= due && Threads.atomic_cas!(monitor.next_look, due, now + LOOK_INTERVAL) == due
        isfile(monitor.stop_file) && stop!(monitor)
        report(monitor)
    end
    !monitor.stopped[]
end

stop!(monitor::Monitor) = monitor.stopped[] = true

report(monitor::Monitor) =
    emit(event = "progress", levels_done = monitor.levels_done[], levels = monitor.levels,
         steps_done = monitor.steps_done[], steps = monitor.steps)
