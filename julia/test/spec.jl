"""A run directory: spec.toml of the single neuron with the given changes (nothing: field left out), x.npy, y.npy."""
function prepare(dir; parameters = (), data = data(8), changes...)
    fields = Dict{Symbol,Any}(:format => 1, :problem => "\"single-neuron\"", :method => "\"tabulated\"", :seed => 1,
                              :dt => 0.01, :trajectories => 70, :noise => "[0.0, 1.0, 2.0, 4.0]",
                              :snapshots => "[0, 10, 400]")
    inner = Dict{Symbol,Any}(:activation => "\"tanh\"", :zeta => 1.0, :init_std => 0.1)
    merge!(fields, changes)
    merge!(inner, Dict(parameters))
    lines(table) = join("$name = $value\n" for (name, value) in table if value !== nothing)
    write(joinpath(dir, "spec.toml"), lines(fields) * "[parameters]\n" * lines(inner))
    for (name, values) in zip(("x.npy", "y.npy"), data)
        open(io -> SC.write_npy(io, values), joinpath(dir, name), "w")
    end
    dir
end

"""The one-line message of `simulate` on a directory with these changes; it must be on stdout too."""
function complaint(; after = dir -> nothing, changes...)
    mktempdir() do dir
        prepare(dir; changes...)
        after(dir)
        result, events = quietly(() -> simulate(dir))
        @test result isa SC.SpecError && !occursin('\n', result.message)
        @test last(events) == "{\"event\":\"error\",\"message\":\"$(replace(result.message, "\"" => "\\\""))\"}"
        result.message
    end
end

@testset "bad specs: one line that names the field" begin
    well = (problem = "\"quartic-well\"", method = "\"direct\"")
    parameter(name, value) = (parameters = (name => value,),)
    for (changes, message) in [
        (format = 2,) => "spec.toml: format = 2, expected 1, the format that this version reads",
        (format = nothing,) => "spec.toml: format is missing, expected 1, the format that this version reads",
        (seeds = 1,) => "unknown field seeds, expected only dt, format, method, noise, parameters, problem, seed, " *
                        "snapshots, trajectories; did you mean seed?",
        (bananas = 1,) => "unknown field bananas, expected only dt",
        (problem = "\"single-nueron\"",) =>
            "problem = \"single-nueron\", expected one of quartic-well, single-neuron, students, " *
                                        "teacher-student, teacher-student-general, two-neurons; " *
                                        "did you mean single-neuron?",
        (problem = 3,) => "problem = 3, expected one of quartic-well, single-neuron, students, teacher-student, ",
        parameter(:activation, "\"gelu\"") => "method = tabulated needs an activation that is odd or even",
        (method = "\"fast\"",) => "method = \"fast\", expected one of direct, tabulated",
        well => "spec.toml: unknown field parameters.activation, expected only init_std, mu",
        (seed = -1,) => "seed = -1, expected an integer ≥ 0",
        (seed = 1.5,) => "seed = 1.5, expected an integer ≥ 0",
        (seed = "true",) => "seed = true, expected an integer ≥ 0",
        (dt = 0.0,) => "dt = 0.0, expected a number > 0",
        (dt = "\"0.1\"",) => "dt = \"0.1\", expected a number > 0",
        (dt = nothing,) => "dt is missing, expected a number > 0",
        (trajectories = 0,) => "trajectories = 0, expected an integer > 0",
        (noise = "[]",) => "noise = [], expected a list of one or more numbers ≥ 0",
        (noise = "[0.5, -0.1]",) => "noise = [0.5, -0.1], expected a list of one or more numbers ≥ 0",
        (noise = 1.0,) => "noise = 1.0, expected a list",
        (snapshots = "[0, 5, 5]",) => "snapshots = [0, 5, 5], expected a list of one or more integers ≥ 0, " *
                                      "strictly increasing",
        (snapshots = "[-1, 5]",) => "snapshots = [-1, 5], expected",
        (snapshots = "[0.0, 5.0]",) => "snapshots = [0.0, 5.0], expected",
        parameter(:activation, "\"tanj\"") => "parameters.activation = \"tanj\", expected one of",
        parameter(:activation, "\"tanj\"") => "did you mean tanh?",
        parameter(:zeta, -1) => "parameters.zeta = -1, expected a number ≥ 0",
        parameter(:zeta, nothing) => "parameters.zeta is missing, expected a number ≥ 0",
        parameter(:init_std, "\"small\"") => "parameters.init_std = \"small\", expected a number ≥ 0",
        parameter(:mu, 1.5) => "unknown field parameters.mu, expected only activation, init_std, zeta",
        (well..., parameters = (:activation => nothing, :zeta => nothing)) => "parameters.mu is missing, expected",
        (well..., method = "\"tabulated\"", parameters = (:activation => nothing, :zeta => nothing, :mu => 1)) =>
            "method = \"tabulated\", expected one of direct",
        (data = ([1.0, 2.0], [1.0]),) => "x.npy has 2 values and y.npy 1, expected as many",
        (data = ([1.0, Inf], [1.0, 2.0]),) => "x.npy holds Inf at index 1, expected finite numbers",
        (data = ([1.0, 2.0], [NaN, 2.0]),) => "y.npy holds NaN at index 0, expected finite numbers",
        (data = (ones(3, 2), ones(3, 2)),) => "x.npy has shape (2, 3), expected (m,) with m ≥ 1",
        (data = (zeros(0), zeros(0)),) => "x.npy has shape (0,), expected (m,) with m ≥ 1",
    ]
        @test occursin(message, complaint(; changes...))
    end
    @test occursin("y.npy is missing", complaint(after = dir -> rm(joinpath(dir, "y.npy"))))
    @test occursin("x.npy: not a .npy file", complaint(after = dir -> write(joinpath(dir, "x.npy"), "text")))
    @test occursin("spec.toml is missing", complaint(after = dir -> rm(joinpath(dir, "spec.toml"))))
    @test occursin("spec.toml is not TOML: ", complaint(after = dir -> write(joinpath(dir, "spec.toml"), "dt = = 1")))
    @test occursin("parameters = 3, expected a table", complaint(after = dir -> write(joinpath(dir, "spec.toml"),
        replace(read(joinpath(dir, "spec.toml"), String), r"\[parameters\][^$]*" => "") * "parameters = 3\n")))
    @test occursin("no directory", complaint(after = dir -> rm(dir, recursive = true)))
end

@testset "numbers as Python writes them" begin
    mktempdir() do dir
        spec = SC.read_spec(prepare(dir, dt = "1e-05", noise = "[1e-07, 2.5e+00]", parameters = (:zeta => 1,)))
        @test spec.dt == 1e-5 && spec.noise == [1e-7, 2.5] && spec.problem.zeta === 1.0
    end
end
