# A run directory, from spec.toml to state.npy.

"""
    simulate(dir) -> :finished or :stopped

Simulate what `dir/spec.toml` describes (see below) and leave in `dir`, each put in place atomically:

- `time.npy` (S,): the snapshots' times, of a recursion their steps; `noise.npy` (K,): the noise levels;
- `state.npy` (K, S, N, D), float64, C order: the states; D = 2 for a single neuron, (w1, w2), D = 1 for the well, θ,
  twice the number of modes for the teacher–student, u of all modes and v of all modes, and so on (see the problems);
- `provenance.toml`: engine, versions, method, threads, cpu, seconds (of all calls it took), steps, and the inputs.

The result depends on the inputs alone, not on the number of threads or on interruptions, and the random numbers are
the same on every version of Julia. Finished noise levels lie in `dir/levels` until `state.npy` is made of them; a
further call goes on with the missing ones, and a call on a finished directory does nothing.

Progress goes to stdout, one JSON object a line, steps being trajectory-steps: at the start, at every finished noise
level, and up to 5 times a second

    {"event":"progress","levels_done":…,"levels":…,"steps_done":…,"steps":…}

and at the end one of `{"event":"finished","seconds":…}`, `{"event":"stopped","levels_done":…}`,
`{"event":"error","message":"one line"}`. After an error's line the exception is thrown on: `SpecError` for bad input.

A file `dir/stop` ends the run within moments, finished noise levels kept; so does an `InterruptException`. The file is
looked for at the start too, and heeded: it may have been written while Julia was starting. Removing it is up to the
one who wrote it.

`spec.toml` is, for a single neuron with data `x.npy`, `y.npy`, both float64 (m,),

    format = 1
    problem = "single-neuron"        # or "quartic-well"
    method = "tabulated"             # or "direct"; the well has only "direct"
    seed = 1                         # an integer ≥ 0
    dt = 0.01
    trajectories = 1000              # N
    noise = [0.0, 0.25]              # K noise levels ≥ 0: η; for the well ζ
    snapshots = [0, 1010, 100000]    # S step indices, strictly increasing; the last is the number of steps
    [parameters]
    activation = "tanh"              # or one that `add_activation!` made known
    zeta = 1.0
    init_std = 0.001                 # for the well: mu and init_std

For a recursion of SGD, `lr` with a number for each noise level takes the place of `dt`, and `rate.npy` (steps,) is what
it is multiplied by at each step. The teacher–student has the data `s_star.npy` (modes,) and the parameters `points` and
`init`, two numbers (see `TeacherStudent`); the others are `teacher-student-general`, `two-neurons` and `students`, whose
parameters and data `spec.jl` lists (see `GeneralTeacherStudent` and `Students`).
"""
function simulate(dir::AbstractString)
    try
        run_directory(dir)
    catch error
        if error isa InterruptException
            stopped(dir)
        else
            emit(event = "error", message = one_line(error))
            rethrow()
        end
    end
end

function run_directory(dir)
    spec = read_spec(dir)
    K, steps = length(spec.noise), spec.trajectories * last(spec.snapshots)
    if isfile(joinpath(dir, "state.npy")) && isfile(joinpath(dir, "provenance.toml"))
        return already_finished(dir, spec, K, steps)
    end
    form = Form(spec)
    before, start = open_levels(dir, spec), time()
    seconds() = before + time() - start
    missing_levels = filter(level -> !isfile(level_file(dir, level)), 1:K)
    done = K - length(missing_levels)
    monitor = Monitor(dir, K, done, K * steps, done * steps)
    report(monitor)
    for level in missing_levels
        states = monitor.stopped[] ? nothing : simulate_level(spec.problem, form, spec, level, monitor)
        save(io -> print(io, seconds()), joinpath(dir, "levels", "seconds"))
        states === nothing && return stopped(dir)
        warn_of_divergence(states, spec, level)
        save(io -> write_npy(io, states), level_file(dir, level))
        done += 1
        monitor.levels_done[], monitor.steps_done[] = done, done * steps
        report(monitor)
    end
    save(io -> write_npy(io, spec.snapshots .* spec.dt), joinpath(dir, "time.npy"))
    save(io -> write_npy(io, spec.noise), joinpath(dir, "noise.npy"))
    save(io -> TOML.print(io, provenance(spec, seconds(), K * steps)), joinpath(dir, "provenance.toml"))
    save(joinpath(dir, "state.npy")) do io
        write_npy_header(io, (K, length(spec.snapshots), spec.trajectories, dimension(spec.problem)))
        foreach(level -> write(io, read_npy(level_file(dir, level))), 1:K)
    end
    rm(joinpath(dir, "levels"), recursive = true)
    finished(seconds())
end

function finished(seconds)
    emit(event = "finished", seconds = round(seconds, digits = 3))
    :finished
end

function stopped(dir)
    levels = joinpath(dir, "levels")
    files = isdir(levels) ? readdir(levels) : String[]
    emit(event = "stopped", levels_done = count(file -> occursin(r"^level_\d+\.npy$", file), files))
    :stopped
end

"""Nothing to do, provided that state.npy is of this very spec."""
function already_finished(dir, spec, K, steps)
    record = parse_toml(joinpath(dir, "provenance.toml"))
    refuse_change(get(record, "inputs", spec.inputs), spec.inputs, "state.npy")
    rm(joinpath(dir, "levels"), force = true, recursive = true)  # left where a run was killed at its very end
    report(Monitor(dir, K, K, K * steps, K * steps))
    finished(get(record, "seconds", 0))
end

# dir/levels holds the finished noise levels, a copy of the inputs that they belong to, and the seconds they took.

"""The file of a noise level; its number counts from 0, as in NumPy's `state[k]`."""
level_file(dir, level) = joinpath(dir, "levels", "level_$(lpad(level - 1, 5, '0')).npy")

"""Make `dir/levels`, or see that the one there belongs to `spec`. The seconds spent on it so far."""
function open_levels(dir, spec)
    levels = joinpath(dir, "levels")
    if isdir(levels)
        refuse_change(read_spec(levels).inputs, spec.inputs, "levels/")
        seconds = joinpath(levels, "seconds")
        return isfile(seconds) ? parse(Float64, read(seconds, String)) : 0.0
    end
    rm(levels * ".part", force = true, recursive = true)
    mkdir(levels * ".part")
    for name in ["spec.toml"; first.(DATA[spec.inputs["problem"]]) .* ".npy"]
        cp(joinpath(dir, name), joinpath(levels * ".part", name))
    end
    Base.Filesystem.rename(levels * ".part", levels)
    0.0
end

function refuse_change(old, new, what)
    names = sort!(collect(union(keys(old), keys(new))))
    changed = join(filter(name -> get(old, name, nothing) != get(new, name, nothing), names), ", ")
    isempty(changed) ||
        throw(SpecError("$what belongs to other inputs ($changed changed): remove it, or use another directory"))
end

function warn_of_divergence(states, spec, level)
    diverged = count(n -> !all(isfinite, view(states, :, n, size(states, 3))), axes(states, 2))
    setting = haskey(spec.inputs, "lr") ? "lr = $(spec.inputs["lr"][level])" : "dt = $(spec.dt)"
    diverged == 0 || log_line("noise $(spec.noise[level]): $diverged of $(spec.trajectories) trajectories diverged; " *
                              "$setting may be too large")
end

provenance(spec, seconds, steps) = Dict(
    "engine" => get(ENV, "SC_ENGINE", "julia"),
    "julia" => string(VERSION),
    "package" => PACKAGE_VERSION,
    "method" => spec.method,
    "threads" => Threads.nthreads(),
    "cpu" => strip(first(Sys.cpu_info()).model),
    "seconds" => seconds,
    "steps" => steps,
    "inputs" => spec.inputs,
)

"""Let `write` write a file, and put it at `path` only when all of it is on the disk."""
function save(write, path)
    open(path * ".part", "w") do io
        write(io)
        flush(io)
        sync(io)
    end
    Base.Filesystem.rename(path * ".part", path)
end

if Sys.iswindows()
    sync(io) = ccall(:_commit, Cint, (Cint,), fd(io))
else
    sync(io) = ccall(:fsync, Cint, (Cint,), fd(io))
end
