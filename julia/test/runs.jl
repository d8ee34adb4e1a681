field(event, name) = (found = match(Regex("\"$name\":\"?([^,\"}]+)"), event); found === nothing ? nothing : found[1])

"""A child process that simulates `dir`, its stdout open for reading."""
child(dir, threads) = open(`$(Base.julia_cmd()) --startup-file=no --project=$(Base.active_project()) -t $threads
                            -e "using StochasticCollapse; simulate(ARGS[1])" $dir`)

"""Read the child's events until one satisfies the condition."""
function read_until(condition, process)
    while !eof(process)
        event = readline(process)
        condition(event) && return event
    end
    error("the child ended before that")
end

@testset "a run directory" begin
    mktempdir() do dir
        prepare(dir)
        result, events = quietly(() -> simulate(dir))
        @test result === :finished
        @test events[1] == """{"event":"progress","levels_done":0,"levels":4,"steps_done":0,"steps":112000}"""
        @test events[end-1] == """{"event":"progress","levels_done":4,"levels":4,"steps_done":112000,"steps":112000}"""
        @test field(events[end], "event") == "finished" && parse(Float64, field(events[end], "seconds")) > 0
        @test sort(readdir(dir)) ==
              ["noise.npy", "provenance.toml", "spec.toml", "state.npy", "time.npy", "x.npy", "y.npy"]
        @test SC.read_npy(joinpath(dir, "time.npy")) == [0, 10, 400] .* 0.01
        @test SC.read_npy(joinpath(dir, "noise.npy")) == [0, 1, 2, 4]
        states = SC.read_npy(joinpath(dir, "state.npy"))
        @test size(states) == (2, 70, 3, 4) && all(isfinite, states)
        @test 0.05 < sqrt(variance(vec(states[:, :, 1, :]))) < 0.15
        record = SC.parse_toml(joinpath(dir, "provenance.toml"))
        @test record["engine"] == "julia" && record["julia"] == string(VERSION) && record["package"] == "0.1.0"
        @test record["method"] == "tabulated" && record["threads"] == Threads.nthreads() && record["steps"] == 112000
        @test record["seconds"] > 0 && !isempty(record["cpu"])

        # Finished is finished, stop file or not; another spec is refused.
        stamp = mtime(joinpath(dir, "state.npy"))
        touch(joinpath(dir, "stop"))
        result, events = quietly(() -> simulate(dir))
        @test result === :finished && mtime(joinpath(dir, "state.npy")) == stamp
        @test field.(events, "event") == ["progress", "finished"] && field(events[1], "levels_done") == "4"
        prepare(dir, seed = 2)
        result, _ = quietly(() -> simulate(dir))
        @test result.message ==
              "state.npy belongs to other inputs (seed changed): remove it, or use another directory"

        # The direct form tells the same story, the normals being the same.
        rm(dir, recursive = true)
        mkdir(dir)
        @test first(quietly(() -> simulate(prepare(dir, method = "\"direct\"")))) === :finished
        @test SC.read_npy(joinpath(dir, "state.npy")) ≈ states rtol = 1e-8
    end
    mktempdir() do dir
        prepare(dir, problem = "\"quartic-well\"", method = "\"direct\"", snapshots = "[0]", trajectories = 1,
                parameters = (:activation => nothing, :zeta => nothing, :mu => 1.5))
        @test first(quietly(() -> simulate(dir))) === :finished
        @test size(SC.read_npy(joinpath(dir, "state.npy"))) == (1, 1, 1, 4)
    end
end

@testset "an error on another thread" begin
    add_activation!("broken", :odd) do u
        0 < abs(u) < 0.01 ? error("no small numbers \"here\"\nsorry") : (u, 1.0)
    end
    mktempdir() do dir
        prepare(dir, method = "\"direct\"", parameters = (:activation => "\"broken\"",))
        result, events = quietly(() -> simulate(dir))
        @test occursin("no small numbers", sprint(showerror, result))
        @test events[end] == """{"event":"error","message":"no small numbers \\"here\\" sorry"}"""
    end
end

@testset "stopped, killed, continued, on other threads: the same result" begin
    # A quarter of a second a level on two threads, so that there is time to stop it.
    changes = (noise = "[0.0, 0.5, 1.0, 1.5, 2.0, 4.0]", snapshots = "[0, 7, 100000]", trajectories = 500)
    uninterrupted = mktempdir() do dir
        prepare(dir; changes...)
        @test first(quietly(() -> simulate(dir))) === :finished
        read(joinpath(dir, "state.npy"))
    end
    mktempdir() do dir
        prepare(dir; changes...)
        process = child(dir, 1)
        read_until(event -> field(event, "levels_done") == "1", process)
        touch(joinpath(dir, "stop"))
        event = read_until(event -> field(event, "event") == "stopped", process)
        wait(process)
        @test success(process) && 1 <= parse(Int, field(event, "levels_done")) < 6
        @test !isfile(joinpath(dir, "state.npy")) && isfile(joinpath(dir, "levels", "level_00000.npy"))

        # The stop file still there is heeded, and nothing is lost by it.
        result, events = quietly(() -> simulate(dir))
        @test result === :stopped && field(events[end], "levels_done") == field(event, "levels_done")
        rm(joinpath(dir, "stop"))

        # Other inputs are refused.
        for (other, changed) in ((noise = "[0.0]",) => "noise", (parameters = (:zeta => 2,),) => "parameters",
                                 (data = data(9),) => "x, y")
            prepare(dir; changes..., other...)
            result, _ = quietly(() -> simulate(dir))
            @test result isa SC.SpecError && result.message ==
                  "levels/ belongs to other inputs ($changed changed): remove it, or use another directory"
        end
        prepare(dir; changes...)

        process = child(dir, 2)
        before = parse(Int, field(event, "levels_done"))
        @test field(readline(process), "levels_done") == string(before)
        read_until(event -> parse(Int, field(event, "levels_done")) > before, process)
        kill(process, 9)
        wait(process)
        @test !isfile(joinpath(dir, "state.npy"))

        stamp = mtime(joinpath(dir, "levels", "level_00000.npy"))
        result, events = quietly(() -> simulate(dir))
        @test result === :finished && parse(Int, field(events[1], "levels_done")) > before
        @test read(joinpath(dir, "state.npy")) == uninterrupted
        @test !isdir(joinpath(dir, "levels"))
    end
    mktempdir() do dir  # -t 1 from end to end
        prepare(dir; changes...)
        process = child(dir, 1)
        read_until(event -> field(event, "event") == "finished", process)
        wait(process)
        @test read(joinpath(dir, "state.npy")) == uninterrupted
    end
end
