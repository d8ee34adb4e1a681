function histogram(values, edges)
    counts = zeros(Int, length(edges) - 1)
    for value in values
        counts[searchsortedlast(edges, value)] += 1
    end
    counts
end

@testset "normals" begin
    density(x) = exp(-x^2 / 2) / sqrt(2π)
    simpson(a, b, n = 20) = (b - a) / 3n * sum(c * density(a + i * (b - a) / n) for (i, c) in
                                               zip(0:n, [1; repeat([4, 2], n ÷ 2 - 1); 4; 1]))
    n = 20_000_000
    z = SC.normals!(zeros(n), n, SC.NormalStream(1, 2, 3))

    # Pearson's χ² over 204 bins, of which six lie in the tail that a ziggurat makes in another way.
    edges = [-Inf; -4.5; -4.25; -4:0.04:4; 4.25; 4.5; Inf]
    expected = [i in (1, length(edges) - 1) ? simpson(4.5, 9.5, 2000) : simpson(edges[i], edges[i+1])
                for i in 1:length(edges)-1]
    @test sum(expected) ≈ 1
    counts = histogram(z, edges)
    χ² = sum((counts .- n .* expected) .^ 2 ./ (n .* expected))
    freedom = length(counts) - 1
    @test abs(χ² - freedom) < 6sqrt(2freedom)  # false alarm 1e-7 or so; χ² is a little skewed

    for (moment, value, spread) in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170))
        @test abs(sum(x -> x^moment, z) / n - value) < 5sqrt(spread / n)
    end

    # Neighbours in a stream, and streams that differ in one integer, are uncorrelated, as are their squares.
    m = 1_000_000
    from(numbers...) = SC.normals!(zeros(m), m, SC.NormalStream(numbers...))
    others = [circshift(from(1, 2, 3), shift) for shift in (1, 2, 32, 64)]
    append!(others, [from(2, 2, 3), from(1, 3, 3), from(1, 2, 4), from(3, 2, 1), from(0, 0, 0)])
    for other in others
        @test abs(mean(from(1, 2, 3) .* other)) < 5 / sqrt(m)
        @test abs(mean((from(1, 2, 3) .^ 2 .- 1) .* (other .^ 2 .- 1))) < 10 / sqrt(m)
    end

    # The numbers do not depend on how the calls are cut.
    stream, pieces = SC.NormalStream(1, 2, 3), Float64[]
    for count in (1, 7, 0, 92)
        append!(pieces, SC.normals!(zeros(100), count, stream)[1:count])
    end
    @test pieces == z[1:100]
    @test_throws BoundsError SC.normals!(zeros(3), 4, stream)
end
