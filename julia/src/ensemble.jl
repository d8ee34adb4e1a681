# All trajectories of one noise level, in blocks of fixed size that threads take as they become free. The normals of a
# block depend on (seed, noise level, block) only, hence the result on neither the threads nor the order of work.

const CHUNK = 16  # steps for which normals are drawn at once, so that they stay in the fastest cache

"""
    simulate_level(problem, form, spec, level, monitor) -> Array of size (D, N, S), or nothing

The states of the N trajectories of noise level number `level` at the S snapshots; nothing where `monitor` stopped it.
"""
function simulate_level(problem::Problem, form::Form, spec::Spec, level::Int, monitor::Monitor)
    states = Array{Float64}(undef, dimension(problem), spec.trajectories, length(spec.snapshots))
    blocks = collect(Iterators.partition(1:spec.trajectories, block_size(problem)))
    next = Threads.Atomic{Int}(1)
    function work()  # -> nothing, or what went wrong
        try
            step = stepper(problem, form, spec.noise[level], time_step(problem, spec.dt, level))
            while (block = Threads.atomic_add!(next, 1)) <= length(blocks)
                stream = NormalStream(spec.seed, level, block)
                simulate_block!(states, blocks[block], step, problem, spec.snapshots, stream, monitor) || return
            end
        catch error
            stop!(monitor)
            return error isa InterruptException ? nothing : (error, catch_backtrace())
        end
    end
    tasks = [Threads.@spawn work() for _ in 1:min(Threads.nthreads(), length(blocks))]
    failures = filter(!isnothing, [await(task, monitor) for task in tasks])
    # Only here, on one thread: looking up the stacks of two exceptions at once can crash Julia 1.5.
    isempty(failures) || throw(CapturedException(first(failures)...))
    monitor.stopped[] ? nothing : states
end

"""The result of a task. An interrupt that arrives meanwhile stops the run, which ends the task soon."""
function await(task, monitor)
    while true
        try
            return fetch(task)
        catch error
            error isa InterruptException || rethrow()
            stop!(monitor)
        end
    end
end

"""Simulate the given trajectories from start to end into `states`; false where `monitor` stopped it on the way."""
function simulate_block!(states, trajectories, step, problem, snapshots, stream, monitor)
    B = length(trajectories)
    current, normals = Array{Float64}(undef, working(problem), B), Array{Float64}(undef, draws(problem), B, CHUNK)
    start!(current, problem, stream, trajectories)
    begin!(step, current, trajectories)
    at = 0
    for (s, snapshot) in enumerate(snapshots)
        while at < snapshot
            steps = min(CHUNK, snapshot - at)
            advance!(current, step, normals, at, steps, stream)
            at += steps
            check(step, current, trajectories, at)
            look!(monitor, steps * B) || return false
        end
        observe!(view(states, :, trajectories, s), step, current)
    end
    true
end

"""
Take `steps` steps after the first `at`. A collapsed trajectory decays towards 0 for ever; numbers below 2.3e-308, with
which processors calculate a hundred times more slowly, are made 0. That is a mode of the thread, so it ends before the task may yield.
"""
function advance!(states, step, normals, at, steps, stream)
    normals!(normals, size(normals, 1) * size(normals, 2) * steps, stream)
    draw!(step, steps, stream)
    before = get_zero_subnormals()
    set_zero_subnormals(true)
    try
        for k in 1:steps
            step!(step, states, normals, k, at + k)
        end
    finally
        set_zero_subnormals(before)
    end
end
