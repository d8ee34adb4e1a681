"""A run directory of the teacher–student with the given changes: of fields, parameters, data."""
function prepare_student(dir; init = "[1.0, 1.0]", points = 64, s_star = [1.3, 0.6, 0.02], rate = ones(60), changes...)
    fields = Dict{Symbol,Any}(:format => 1, :problem => "\"teacher-student\"", :method => "\"direct\"", :seed => 1,
                              :trajectories => 200, :noise => "[0.0, 3.0]", :lr => "[0.64, 1.28]",
                              :snapshots => "[0, 10, 60]")
    merge!(fields, changes)
    lines = join("$name = $value\n" for (name, value) in fields if value !== nothing)
    write(joinpath(dir, "spec.toml"), lines * "[parameters]\ninit = $init\npoints = $points\n")
    open(io -> SC.write_npy(io, s_star), joinpath(dir, "s_star.npy"), "w")
    open(io -> SC.write_npy(io, rate), joinpath(dir, "rate.npy"), "w")
    dir
end

@testset "teacher–student: steps are those of the plain loop" begin
    problem = SC.TeacherStudent([1.3, 0.6, 0.02], [1.0, 0.5, 0.1], [0.64, 1.28], 64, (0.7, -1.1))
    B = SC.block_size(problem)
    states = SC.start!(zeros(SC.dimension(problem), B), problem, SC.NormalStream(1), 1:B)
    normals = SC.normals!(zeros(SC.draws(problem), B, 3), 9B, SC.NormalStream(2))
    stepper = SC.stepper(problem, SC.Direct(), 5.0, SC.time_step(problem, 1.0, 2))
    foreach(k -> SC.step!(stepper, states, normals, k, k), 1:3)
    for n in 1:B, i in 1:3
        u, v = 0.7, -1.1
        for k in 1:3
            η, r = 1.28 / 64 * problem.rate[k], u * v - problem.s_star[i] + 5.0 * normals[i, n, k]
            u, v = u - η * r * v, v - η * r * u
        end
        @test states[i, n] ≈ u rtol = 1e-13
        @test states[3+i, n] ≈ v rtol = 1e-13
    end
end

@testset "teacher–student: a run directory" begin
    mktempdir() do dir
        prepare_student(dir)
        @test first(quietly(() -> simulate(dir))) === :finished
        states = SC.read_npy(joinpath(dir, "state.npy"))
        @test size(states) == (6, 200, 3, 2) && all(states[:, :, 1, :] .== 1)
        @test SC.read_npy(joinpath(dir, "time.npy")) == [0, 10, 60]
        @test all(states[1:3, :, 2:3, :] .== states[4:6, :, 2:3, :])  # from u = v on
        @test all(states[:, 1:1, :, 1] .== states[:, :, :, 1])  # σ = 0
        @test length(unique(states[1:3, :, 3, 2])) == 600
        record = SC.parse_toml(joinpath(dir, "provenance.toml"))
        @test record["inputs"]["s_star"] == [1.3, 0.6, 0.02] && record["steps"] == 24000
    end
    # The rate changes when rate.npy says so, whatever chunks the steps are taken in; long ones are noted in short.
    drop(at, length) = [i <= at ? 1.0 : 0.1 for i in 1:length]
    (same, other) = map((drop(20, 60), drop(20, 5000))) do rate
        mktempdir() do dir
            prepare_student(dir, rate = rate, snapshots = "[7, 20, 60]")
            @test first(quietly(() -> simulate(dir))) === :finished
            inputs = SC.parse_toml(joinpath(dir, "provenance.toml"))["inputs"]
            @test length(rate) == 60 ? inputs["rate"] == rate : occursin(r"^[0-9a-f]{16}$", inputs["rate"])
            SC.read_npy(joinpath(dir, "state.npy"))
        end
    end
    @test same == other
end

@testset "teacher–student: no steps" begin
    mktempdir() do dir
        prepare_student(dir, rate = Float64[], snapshots = "[0]", init = "[0.5, 2.0]")
        result, _ = quietly(() -> simulate(dir))
        @test !(result isa Exception)
        state = SC.read_npy(joinpath(dir, "state.npy"))
        @test all(state[1:3, :, 1, :] .== 0.5) && all(state[4:6, :, 1, :] .== 2.0)
    end
end

@testset "teacher–student: bad specs" begin
    for (changes, message) in [
        (lr = "[1.0]",) => "lr = [1.0], expected a list of numbers > 0, as many as noise has",
        (lr = "[1.0, 0.0]",) => "expected a list of numbers > 0",
        (dt = 1.0,) => "unknown field dt, expected only format, lr, method",
        (method = "\"tabulated\"",) => "method = \"tabulated\", expected one of direct",
        (init = "[1.0]",) => "parameters.init = [1.0], expected two numbers",
        (points = 0,) => "parameters.points = 0, expected an integer > 0",
        (rate = ones(59),) => "rate.npy has 59 values, expected one for each of 60 steps",
        (rate = Float64[],) => "rate.npy has 0 values, expected one for each of 60 steps",
        (s_star = Float64[],) => "s_star.npy has shape (0,), expected (m,) with m ≥ 1",
        (s_star = [1.0, NaN],) => "s_star.npy holds NaN at index 1, expected finite numbers",
    ]
        mktempdir() do dir
            result, _ = quietly(() -> simulate(prepare_student(dir; changes...)))
            @test result isa SC.SpecError && occursin(message, result.message)
        end
    end
    mktempdir() do dir
        rm(joinpath(prepare_student(dir), "rate.npy"))
        result, _ = quietly(() -> simulate(dir))
        @test occursin("rate.npy is missing, expected the data of problem \"teacher-student\"", result.message)
    end
    @test SC.fingerprint([1.0, 2.0]) != SC.fingerprint([2.0, 1.0]) != SC.fingerprint([1.0, 2.0, 0.0])
end
