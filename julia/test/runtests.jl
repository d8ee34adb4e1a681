# julia --project=julia --startup-file=no -t 2 julia/test/runtests.jl
#
# Statistical tests have fixed seeds, so a run repeats itself. Their tolerances are 5 standard errors unless said: an
# unlucky seed would raise a false alarm with probability 6e-7 per comparison.

using StochasticCollapse, Test
const SC = StochasticCollapse

mean(values) = sum(values) / length(values)
variance(values) = sum(abs2, values .- mean(values)) / (length(values) - 1)

"""What `f()` returns, or throws, and the lines it printed on stdout."""
function quietly(f)
    path = tempname()
    result = open(path, "w") do io
        redirect_stdout(io) do
            try
                f()
            catch error
                error
            end
        end
    end
    result, readlines(path)
end

"""The states (D, N, S) of noise level number `level`."""
function level_states(spec, level)
    monitor = SC.Monitor(tempname(), length(spec.noise), 0, 1, 0)
    states, _ = quietly(() -> SC.simulate_level(spec.problem, SC.Form(spec), spec, level, monitor))
    states
end

add_activation!("sine", :odd) do u
    sin(u), cos(u)
end
add_activation!("versine", :even) do u
    2sin(u / 2)^2, sin(u)
end

@testset "StochasticCollapse" begin
    include("npy.jl")
    include("normals.jl")
    include("neuron.jl")
    include("convergence.jl")
    include("spec.jl")
    include("runs.jl")
    include("teacher_student.jl")
    include("students.jl")
    include("general.jl")
end
