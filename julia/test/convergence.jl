# Euler–Maruyama on the quartic well, whose noise is multiplicative: the same Brownian paths with coarse steps and with
# fine ones, the fine ones standing for the solution.

"""Mean |X_h − X| and |mean (X_h² − X²)| at time 1 for each number of steps in `coarse`."""
function errors_at_one(well, ζ, coarse, fine, paths; batch = 500)
    strong, weak = zeros(length(coarse)), zeros(length(coarse))
    run(states, normals) = (step = SC.stepper(well, SC.Direct(), ζ, 1 / size(normals, 3));
                            foreach(k -> SC.step!(step, states, normals, k), axes(normals, 3)); states)
    normals = zeros(1, batch, fine)
    for part in 1:paths÷batch
        stream = SC.NormalStream(7, part)
        start = well.init_std .* SC.normals!(zeros(1, batch), batch, stream)
        SC.normals!(normals, length(normals), stream)
        exact = run(copy(start), normals)
        for (i, steps) in enumerate(coarse)
            each = fine ÷ steps
            increments = dropdims(sum(reshape(normals, 1, batch, each, steps), dims = 3), dims = 3) ./ sqrt(each)
            found = run(copy(start), increments)
            strong[i] += sum(abs.(found .- exact)) / paths
            weak[i] += sum(found .^ 2 .- exact .^ 2) / paths
        end
    end
    strong, abs.(weak)
end

"""Least-squares slope of log2(errors) per halving of the step."""
order(errors) = (k = 1:length(errors); -sum((k .- mean(k)) .* log2.(errors)) / sum(abs2, k .- mean(k)))

@testset "Euler–Maruyama: strong order 1/2, weak order 1" begin
    # Each order where it shows: strong with strong noise and small steps, weak with little noise. The fine steps being
    # 16 times smaller, not infinitely, adds 0.03 to either; standard errors, from 8 seeds, are 0.007 and 0.035.
    strong, _ = errors_at_one(SC.QuarticWell(1.5, 0.5), 1.0, [128, 256, 512, 1024], 16384, 5000)
    @test abs(order(strong) - 0.53) < 0.04
    _, weak = errors_at_one(SC.QuarticWell(1.5, 1.0), 0.25, [16, 32, 64, 128], 2048, 50_000)
    @test abs(order(weak) - 1.03) < 0.25
end

@testset "quartic well: stationary density ∝ |θ|^(2μ/ζ² − 2) exp(−θ²/ζ²)" begin
    # For ζ² = 2, μ = 3: ∝ |θ| exp(−θ²/2), so θ² is exponential with mean 2. And without noise: θ² → μ.
    well, N, steps, dt = SC.QuarticWell(3.0, 1.0), 4000, 4000, 0.002
    spec = SC.Spec(well, "direct", 3, dt, N, [sqrt(2), 0.0], [steps], Dict{String,Any}())
    θ² = abs2.(level_states(spec, 1)[1, :, 1])
    # Standard errors: mean 2/√N; P(θ² < 2) = 1 − 1/e. Euler–Maruyama's bias, of order dt, is a tenth of the tolerance.
    @test abs(mean(θ²) - 2) < 5 * 2 / sqrt(N)
    @test abs(mean(θ² .< 2) - (1 - exp(-1))) < 5 * 0.48 / sqrt(N)
    @test all(abs.(abs2.(level_states(spec, 2)) .- 3) .< 1e-9)
end
