"""Two teachers of `inputs` inputs, six students of the given kind, with everything drawn from `randoms`."""
function students(; inputs = 3, widths = [5], biases = false, activation = "gelu", points = 7, batch = points,
                  noise = "label", momentum = 0.9, weight_decay = 0.0, steps = 40)
    layers, P = SC.layers_of([inputs; widths; 1], biases)
    randoms(sizes...) = SC.normals!(zeros(sizes...), prod(sizes), SC.NormalStream(length(sizes), sizes...))
    SC.Students(layers, P, SC.ACTIVATIONS[activation], randoms(points, inputs, 2), randoms(points, 2),
                randoms(11, inputs, 2), randoms(11, 2), randoms(P, 6) ./ 2, [s < 3 ? 1.0 : 0.1 for s in 0:steps-1],
                [0.1, 0.05], batch, momentum, weight_decay, noise, false, 6)
end

"""f(x) of one example, as a textbook writes it."""
function network(problem, weights, x)
    at, a = 0, x
    for (l, layer) in enumerate(problem.layers)
        W = permutedims(reshape(weights[at+1:at+layer.inputs*layer.outputs], layer.inputs, layer.outputs))
        at += length(W)
        b = layer.bias >= 0 ? weights[at+1:at+layer.outputs] : zeros(layer.outputs)
        layer.bias >= 0 && (at += layer.outputs)
        a = W * a .+ b
        l < length(problem.layers) && (a = first.(problem.activation.f.(a)))
    end
    a[1]
end

"""∇f of each example by central differences, (P, examples), right to 1e-8 or so."""
function differences(problem, weights, x)
    h = 1e-5
    [begin
        up, down = copy(weights), copy(weights)
        up[p] += h
        down[p] -= h
        (network(problem, up, x[n, :]) - network(problem, down, x[n, :])) / 2h
    end for p in eachindex(weights), n in axes(x, 1)]
end

KINDS = [(), (widths = [4, 6, 3], biases = true, activation = "tanh"), (inputs = 1, widths = [2]),
         (inputs = 9, widths = [8, 5], activation = "linear"), (biases = true, widths = [1])]

@testset "activations of students" begin
    us = [-30:0.0137:30; -10.0 .^ (-300:5.0:1)]
    # Φ by its Taylor series about 0, in numbers of 1,800 bits, of which it cancels up to 1,300.
    exact = setprecision(1800) do
        map(us) do u
            x = big(u)
            term, total, k = x, x, 0
            while abs(term) > big(2.0)^-1750 * abs(total) && total != 0
                k += 1
                term *= x^2 / (2k + 1)
                total += term
            end
            density = exp(-x^2 / 2) / sqrt(2big(π))
            below = big(0.5) + density * total
            Float64(x * below), Float64(below + x * density), Float64((1 + x^2) * below)
        end
    end
    ours = SC.gelu_and_slope.(us)
    @test all(abs.(first.(ours) .- first.(exact)) .<= 1e-13 .* abs.(first.(exact)) .+ 1e-307)
    @test all(abs.(getindex.(ours, 2) .- getindex.(exact, 2)) .<= 1e-13 .* last.(exact))
    @test SC.gelu_and_slope(50.0) == (50.0, 1.0) && isnan(first(SC.gelu_and_slope(NaN)))
    @test SC.relu_and_slope.([-2.0, 0.0, 3.0]) == [(0.0, 0.0), (0.0, 0.0), (3.0, 1.0)]
end

@testset "students: gradients are finite differences of the plain network" begin
    for kind in KINDS
        problem = students(; kind...)
        weights, x = problem.start[:, 4], problem.x[:, :, 2]
        J = differences(problem, weights, x)
        pass, gradient = SC.Pass(problem.layers, size(x, 1)), zeros(problem.weights)
        SC.forward!(pass, problem.layers, problem.activation, weights, x)
        @test pass.output ≈ [network(problem, weights, x[n, :]) for n in axes(x, 1)] rtol = 1e-13
        pass.seed .= 1.0
        SC.backward!(gradient, pass, problem.layers, weights, x)
        @test gradient ≈ vec(sum(J, dims = 2)) rtol = 1e-7
        @test SC.power(pass, problem.layers, x) ≈ sum(abs2, J) rtol = 1e-7
        pass.seed .= sin.(axes(x, 1))
        SC.backward!(gradient, pass, problem.layers, weights, x)
        @test gradient ≈ J * sin.(axes(x, 1)) rtol = 1e-7
    end
end

@testset "students: steps are those of the plain loop" begin
    σ, steps = 0.3, 5
    for noise in ("label", "isotropic", "frozen"), kind in KINDS, batch in (7, 3)
        problem = students(; noise = noise, batch = batch, weight_decay = 0.01, kind...)
        P, trajectories = problem.weights, 5:5
        teacher, stream = 2, SC.NormalStream(9)
        student = SC.stepper(problem, SC.Direct(), σ, SC.time_step(problem, 1.0, 2))
        states = SC.start!(zeros(SC.working(problem), 1), problem, stream, trajectories)
        SC.begin!(student, states, trajectories)
        normals = SC.normals!(zeros(SC.draws(problem), 1, SC.CHUNK), SC.draws(problem) * steps, stream)
        SC.draw!(student, steps, stream)
        w, m = problem.start[:, 5], zeros(P)
        x, y = problem.x[:, :, teacher], problem.y[:, teacher]
        J0 = differences(problem, w, x)
        for k in 1:steps
            SC.step!(student, states, normals, k, k)
            picks = batch == 7 ? (1:7) : student.picks[:, k]
            @test batch == 7 || length(unique(picks)) == batch
            J, ξ = differences(problem, w, x)[:, picks], normals[:, 1, k]
            residual = [network(problem, w, x[n, :]) - y[n] for n in picks]
            g = J * residual / batch
            g -= noise == "label" ? σ / batch * J * ξ : noise == "frozen" ? σ / batch * J0[:, picks] * ξ :
                 -σ / batch * sqrt(sum(abs2, J) / P) * ξ
            m = 0.9m + g + 0.01w
            w -= 0.05 * (k <= 3 ? 1.0 : 0.1) * m
        end
        @test states[:, 1] ≈ [w; m] rtol = 1e-6
        seen = zeros(P + 2, 1)
        SC.observe!(seen, student, states)
        error(x, y) = mean([(network(problem, w, x[n, :]) - y[n])^2 for n in axes(x, 1)])
        @test seen ≈ [w; error(x, y); error(problem.x_test[:, :, 2], problem.y_test[:, 2])] rtol = 1e-6
    end
end

@testset "examples of mini-batches: every set equally likely" begin
    picks = SC.pick!(Matrix{Int}(undef, 3, 100_000), 100_000, 6, SC.NormalStream(4))
    counts = zeros(Int, 63)
    foreach(column -> counts[sum(1 .<< (column .- 1))] += 1, eachcol(picks))
    sets = filter(!iszero, counts)
    @test length(sets) == 20 && all(column -> length(unique(column)) == 3, eachcol(picks))
    @test sum((sets .- 5000) .^ 2 ./ 5000) < 60  # χ² of 19 degrees of freedom: false alarm 4e-6
end

"""A run directory of students with the given changes of fields, parameters (a string of TOML) and data."""
function prepare_students(dir; parameters = "", drop = "", shapes = Dict(), changes...)
    fields = Dict{Symbol,Any}(:format => 1, :problem => "\"students\"", :method => "\"direct\"", :seed => 1,
                              :trajectories => 4, :noise => "[0.0, 0.5]", :lr => "[0.1, 0.1]",
                              :snapshots => "[0, 10, 60]")
    merge!(fields, changes)
    lines = join("$name = $value\n" for (name, value) in fields if value !== nothing)
    inner = Dict("widths" => "[5]", "activation" => "\"gelu\"", "biases" => "false", "batch" => "7",
                 "momentum" => "0.9", "weight_decay" => "0.0", "gradient_noise" => "\"label\"")
    isempty(parameters) || merge!(inner, Dict([Tuple(strip.(split(parameters, "=")))]))
    delete!(inner, drop)
    write(joinpath(dir, "spec.toml"), lines * "[parameters]\n" * join("$k = $v\n" for (k, v) in inner))
    sizes = merge(Dict("x" => (3, 7, 2), "y" => (7, 2), "x_test" => (3, 11, 2), "y_test" => (11, 2),
                       "start" => (20, 4), "rate" => (60,)), shapes)
    for (name, size) in sizes
        values = SC.normals!(zeros(size), prod(size), SC.NormalStream(length(name), 5)) ./ 2
        open(io -> SC.write_npy(io, name == "rate" ? ones(size) : values), joinpath(dir, "$name.npy"), "w")
    end
    dir
end

@testset "students: a run directory" begin
    mktempdir() do dir
        prepare_students(dir)
        @test first(quietly(() -> simulate(dir))) === :finished
        states, start = SC.read_npy(joinpath(dir, "state.npy")), SC.read_npy(joinpath(dir, "start.npy"))
        @test size(states) == (22, 4, 3, 2) && states[1:20, :, 1, 1] == start == states[1:20, :, 1, 2]
        @test states[:, :, 1, 1] == states[:, :, 1, 2] && states[:, :, 3, 1] != states[:, :, 3, 2]
        @test all(states[21, :, 3, 1] .< states[21, :, 1, 1])  # without noise, the training error falls
        @test states[21, 1, 1, 1] != states[21, 3, 1, 1]
    end
end

@testset "students: a step that explodes" begin
    mktempdir() do dir
        result, events = quietly(() -> simulate(prepare_students(dir, lr = "[0.1, 50.0]", noise = "[0.0, 0.5]")))
        @test result isa CapturedException && result.ex isa SC.SpecError
        @test occursin(r"spec.toml: lr = 50.0 is too large: at noise level 0.5 the weights of trajectory \d exploded " *
                       r"by step \d+; try lr = 12.5", last(events))
        @test isfile(joinpath(dir, "levels", "level_00000.npy"))  # what went well is kept
    end
end

@testset "students: bad specs" begin
    for (changes, message) in [
        (parameters = "widths = []",) => "parameters.widths = [], expected a list of integers > 0",
        (parameters = "widths = [0]",) => "parameters.widths = [0], expected a list of integers > 0",
        (parameters = "biases = 1",) => "parameters.biases = 1, expected true or false",
        (parameters = "batch = 8",) => "parameters.batch = 8, expected at most the 7 examples",
        (parameters = "gradient_noise = \"labels\"",) => "expected one of frozen, isotropic, label; did you mean label?",
        (drop = "momentum",) => "parameters.momentum is missing, expected a number ≥ 0",
        (shapes = Dict("y" => (6, 2)),) => "y.npy has shape (2, 6), expected (2, 7)",
        (shapes = Dict("start" => (20, 3)),) => "start.npy has shape (3, 20), expected (4, 20)",
        (shapes = Dict("x" => (3, 7)),) => "x.npy has shape (7, 3), expected 3 dimensions, none of them empty",
        (shapes = Dict("x" => (3, 0, 2)),) => "x.npy has shape (2, 0, 3), expected 3 dimensions, none of them empty",
        (trajectories = 3, shapes = Dict("start" => (20, 3))) =>
            "trajectories = 3, expected a multiple of the 2 teachers",
    ]
        mktempdir() do dir
            result, _ = quietly(() -> simulate(prepare_students(dir; changes...)))
            @test result isa SC.SpecError && occursin(message, result.message)
        end
    end
end

@testset "two neurons: the plain loop" begin
    mktempdir() do dir
        x, y = [-1.0, 0.3, 1.2], [0.5, -0.2, 0.7]
        write(joinpath(dir, "spec.toml"), """
            format = 1
            problem = "two-neurons"
            method = "direct"
            seed = 3
            lr = [0.2]
            trajectories = 2
            noise = [0.0]
            snapshots = [0, 4]
            [parameters]
            momentum = 0.5
            w_in = [1.0, 0.6]
            w_out = [-0.6, -0.4]
            """)
        for (name, values) in ("x" => x, "y" => y, "rate" => ones(4))
            open(io -> SC.write_npy(io, values), joinpath(dir, "$name.npy"), "w")
        end
        @test first(quietly(() -> simulate(dir))) === :finished
        states = SC.read_npy(joinpath(dir, "state.npy"))
        a, b, m = [1.0, 0.6], [-0.6, -0.4], zeros(4)
        for _ in 1:4
            both = [SC.gelu_and_slope(a[j] * x[n]) for n in 1:3, j in 1:2]
            residual = (first.(both) * b .- y) ./ 3
            g = [[b[j] * sum(residual .* x .* last.(both[:, j])) for j in 1:2]; first.(both)' * residual]
            m = 0.5m + g
            a, b = a .- 0.2m[1:2], b .- 0.2m[3:4]
        end
        @test states[:, 1, 1, 1] == [1.0, 0.6, -0.6, -0.4, 0, 0, 0, 0]
        @test states[:, 1, 2, 1] ≈ [a; b; m] rtol = 1e-12
        @test states[:, 1, 2, 1] == states[:, 2, 2, 1]
    end
end
