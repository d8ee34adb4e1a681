data(m) = (x = [sin(3.7i) + 0.4cos(i) for i in 1:m]; (x, x .+ 0.1 .* cos.(5 .* (1:m))))
neuron(m, name) = SC.SingleNeuron(data(m)..., SC.ACTIVATIONS[name], 0.8, 1e-6)

"""`states` one step on, with normals that are all 1 unless given."""
function stepped(problem, form, noise, states, normals = ones(size(states)..., 1))
    states = copy(states)
    SC.step!(SC.stepper(problem, form, noise, 0.01), states, normals, 1)
    states
end

@testset "activations" begin
    us = [-10.0 .^ (-300:0.5:2); 0.0; 0.001:0.0137:25]
    ours, exact = SC.tanh_and_slope.(us), tanh.(big.(us))
    @test all(abs.(first.(ours) .- exact) .<= 3e-16 .* abs.(exact))
    @test all(abs.(last.(ours) .- (1 .- exact .^ 2)) .<= 1e-15)
    @test isnan(first(SC.tanh_and_slope(NaN)))

    says(text, f, parity = :odd) = try
        add_activation!(f, "wrong", parity)
        false
    catch error
        error isa ArgumentError && occursin(text, error.msg)
    end
    @test says("expected :odd, :even or :none", u -> (u, 1.0), :neither)
    @test says("expected 0", u -> (cos(u), -sin(u)), :even)
    @test says("not odd: ", u -> (u^2, 2u))
    @test says("not even: ", u -> (u, 1.0), :even)
    @test says("finite difference", u -> (sin(u), sin(u)))
    @test !haskey(SC.ACTIVATIONS, "wrong")
end

@testset "terms: the equations, and a covariance's root" begin
    for name in ("tanh", "sine", "versine"), m in (1, 2, 32), w1 in (-2.0, -0.3, 1e-3, 1.7)
        problem = neuron(m, name)
        of = SC.terms!(SC.stepper(problem, SC.Direct(), 1.0, 0.01), w1)
        t = [first(problem.activation.f(w1 * x)) for x in problem.x]
        s = [last(problem.activation.f(w1 * x)) * x for x in problem.x]
        @test [of.ys, of.yt, of.ts, of.tt] ≈ [sum(problem.y .* s), sum(problem.y .* t), sum(t .* s), sum(t .* t)]
        L = [of.L11 0; of.L21 of.L22]
        @test L * L' ≈ [sum(s .* s) sum(t .* s); sum(t .* s) sum(t .* t)]
    end
    # No noise where there is none, rather than 0/0.
    for name in ("tanh", "versine"), w1 in (0.0, 1.0)
        nothing_to_learn = SC.SingleNeuron([0.0], [1.0], SC.ACTIVATIONS[name], 1.0, 1.0)
        for form in (SC.Direct(), SC.Tabulated(nothing_to_learn))
            @test stepped(nothing_to_learn, form, 1.0, [w1; 2.0][:, :]) == [w1; 2.0][:, :]
        end
    end
end

@testset "tabulated = direct, to 1e-9 of ‖w‖ in every step" begin
    n = 20_000
    for name in ("tanh", "sine", "versine"), m in (1, 2, 3, 32), noise in (0.0, 1.3, 4.0)
        problem = neuron(m, name)
        table = SC.Tabulated(problem)
        z, stream = zeros(2, n, 1), SC.NormalStream(m)
        # w1 around the table's range and, in every other trajectory, at any order of magnitude down to 1e-50
        w = 3SC.normals!(zeros(2, n), 2n, stream)
        w[1, 1:2:end] .*= 10.0 .^ range(-50, 0, length = n ÷ 2)
        w[1, 2:2:end] .*= 3
        SC.normals!(z, 2n, stream)
        direct, tabulated = stepped(problem, SC.Direct(), noise, w, z), stepped(problem, table, noise, w, z)
        @test maximum(sqrt.(sum(abs2, direct - tabulated, dims = 1) ./ sum(abs2, w, dims = 1))) < 1e-9
        beyond = abs.(w[1, :]) .> table.width * size(table.coefficients, 2)
        @test direct[:, beyond] == tabulated[:, beyond]
        name == "tanh" && @test 0 < mean(beyond) < 0.5  # both sides of the table's end are tested
    end

    # Too sharp for a table over the whole range: shorter, but as right.
    add_activation!(u -> (sin(u^3), 3u^2 * cos(u^3)), "sharp", :odd)
    problem = neuron(32, "sharp")
    table = SC.Tabulated(problem)
    @test size(table.coefficients, 2) < SC.MOST_CELLS
    w = [range(-9.0, 9.0, length = 999)'; ones(1, 999)]
    @test maximum(abs.(stepped(problem, SC.Direct(), 1.0, w) - stepped(problem, table, 1.0, w))) < 1e-9

    # Not a number stays so, and does not index the table.
    problem = neuron(32, "tanh")
    @test all(isnan, stepped(problem, SC.Tabulated(problem), 1.0, [NaN Inf; 1.0 NaN]))
end

@testset "near the origin: log|w1 ± w2| has mean λ± t and variance η ζ² φ'(0)² Σx²/m t" begin
    m, noise, dt, steps, N = 8, 1.2, 0.001, 2000, 4000
    problem, t = neuron(m, "tanh"), steps * dt
    drift, spread = sum(problem.x .* problem.y) / m, noise * problem.zeta^2 * sum(abs2, problem.x) / m
    for method in ("direct", "tabulated")
        states = level_states(SC.Spec(problem, method, 5, dt, N, [noise], [0, steps], Dict{String,Any}()), 1)
        for sign in (1, -1)
            θ = states[1, :, :] .+ sign .* states[2, :, :]
            growth = log.(abs.(θ[:, 2] ./ θ[:, 1]))
            # Euler–Maruyama's own bias, of order dt, is less than a tenth of these tolerances.
            @test abs(mean(growth) - (sign * drift - spread / 2) * t) < 5sqrt(spread * t / N)
            @test abs(variance(growth) - spread * t) < 5spread * t * sqrt(2 / N)
        end
    end
end
