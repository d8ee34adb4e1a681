"""A small problem, whose numbers are as good as random."""
function general(n = 4, m = 3, N = 10)
    values(sizes...) = SC.normals!(zeros(sizes...), prod(sizes), SC.NormalStream(sizes...))
    SC.GeneralTeacherStudent(values(n, N), values(m, N), values(n, n), values(m, n), [1.0, 0.5, 0.1], [0.02, 0.05])
end

@testset "general teacher–student: steps are those of the plain loop" begin
    problem = general()
    for batch in (10, 1, 4)
        stepper = SC.stepper(problem, SC.Direct(), Float64(batch), SC.time_step(problem, 1.0, 2))
        stream = SC.NormalStream(3)
        states = SC.start!(zeros(SC.dimension(problem), 1), problem, stream, 1:1)
        SC.draw!(stepper, 3, stream)
        V, U = permutedims(problem.v), permutedims(problem.u)
        for k in 1:3
            SC.step!(stepper, states, zeros(0, 1, 3), k, k)
            picks = batch == 10 ? (1:10) : stepper.picks[:, k]
            X, Y = permutedims(problem.x[:, picks]), permutedims(problem.y[:, picks])
            R, lr = X * V * U - Y, 0.05 * problem.rate[k] / batch
            V, U = V - lr * X' * R * U', U - lr * (X * V)' * R
        end
        @test states[:, 1] ≈ [vec(permutedims(V)); vec(permutedims(U))] rtol = 1e-12
    end
end

@testset "general teacher–student: a run directory, and sizes of mini-batches that are none" begin
    problem = general()
    function prepare_general(dir, noise)
        write(joinpath(dir, "spec.toml"), "format = 1\nproblem = \"teacher-student-general\"\nmethod = \"direct\"\n" *
              "seed = 1\ntrajectories = 2\nlr = [0.02, 0.02]\nsnapshots = [0, 3]\nnoise = $noise\n[parameters]\n")
        for (name, values) in ("x" => permutedims(problem.x), "y" => permutedims(problem.y))
            # as NumPy has them: (N, n), read as (n, N)
            open(io -> SC.write_npy(io, permutedims(values)), joinpath(dir, "$name.npy"), "w")
        end
        for name in ("v", "u", "rate")
            open(io -> SC.write_npy(io, getproperty(problem, Symbol(name))), joinpath(dir, "$name.npy"), "w")
        end
        dir
    end
    mktempdir() do dir
        @test first(quietly(() -> simulate(prepare_general(dir, "[2, 10]")))) === :finished
        states = SC.read_npy(joinpath(dir, "state.npy"))
        @test size(states) == (28, 2, 2, 2) && states[:, 1, 2, 1] != states[:, 2, 2, 1]
        @test states[:, 1, 2, 2] == states[:, 2, 2, 2] != states[:, 1, 1, 2]
    end
    for noise in ("[2.5, 10.0]", "[0, 10]", "[2, 11]")
        mktempdir() do dir
            result, _ = quietly(() -> simulate(prepare_general(dir, noise)))
            @test result isa SC.SpecError && occursin("expected sizes of mini-batches, integers from 1 to 10", result.message)
        end
    end
end
