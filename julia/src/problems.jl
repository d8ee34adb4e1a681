# The problems, each with its parameters and its start: stochastic differential equations (Itô) that start from
# N(0, init_std²), and a recursion of SGD. Those with matrices have files of their own, students.jl and general.jl.

abstract type Problem end

"""
    SingleNeuron(x, y, activation, zeta, init_std)

One neuron ŷ = w2 φ(w1 x), trained on m points (x, y) with gradient noise of strength η ζ² (Figure 2 of the paper):

    dw1 = −(1/m) Σ (ŷ_i − y_i) w2 φ'(w1 x_i) x_i dt + √η ζ w2 Σ φ'(w1 x_i) x_i dB_i/√m
    dw2 = −(1/m) Σ (ŷ_i − y_i) φ(w1 x_i) dt        + √η ζ    Σ φ(w1 x_i) dB_i/√m

The noise level is η; a state is (w1, w2).
"""
struct SingleNeuron{A<:Activation} <: Problem
    x::Vector{Float64}
    y::Vector{Float64}
    activation::A
    zeta::Float64
    init_std::Float64
end

"""
    QuarticWell(mu, init_std)

dθ = −(θ³ − μθ) dt + ζ θ dB (Figure 1 of the paper). The noise level is ζ; a state is θ.
"""
struct QuarticWell <: Problem
    mu::Float64
    init_std::Float64
end

"""
    TeacherStudent(s_star, rate, lr, points, init)

Linear teacher–student in its diagonal form, SGD with label noise σ (Figure 5 of the paper). Each mode has a pair (u, v),
which starts as `init` and learns the singular value s* by

    r = u v − s* + σ ξ,    (u, v) ← (u − η r v, v − η r u),    η = lr rate / points

with a rate for each step and an lr for each noise level. The noise level is σ; a state is (u of all modes, v of all).
"""
struct TeacherStudent <: Problem
    s_star::Vector{Float64}
    rate::Vector{Float64}
    lr::Vector{Float64}
    points::Int
    init::Tuple{Float64,Float64}
end

"""Numbers in a state as it is saved."""
dimension(::SingleNeuron) = 2
dimension(::QuarticWell) = 1
dimension(problem::TeacherStudent) = 2length(problem.s_star)

"""Numbers in a state as it is advanced."""
working(problem::Problem) = dimension(problem)

"""Normals that a step draws."""
draws(problem::Problem) = dimension(problem)
draws(problem::TeacherStudent) = length(problem.s_star)

"""Trajectories of a block: few enough to share out evenly, enough for the processor to overlap their steps."""
block_size(::Problem) = 32
block_size(problem::TeacherStudent) = max(1, 256 ÷ length(problem.s_star))

"""Put the first states of the given trajectories into `states`, (D, trajectories)."""
start!(states, problem::Problem, stream, trajectories) =
    states .= problem.init_std .* normals!(states, length(states), stream)
function start!(states, problem::TeacherStudent, stream, trajectories)
    modes = draws(problem)
    states[1:modes, :] .= problem.init[1]
    states[modes+1:end, :] .= problem.init[2]
    states
end

"""The time step of noise level number `level`, where `dt` is that of spec.toml."""
time_step(::Problem, dt, level) = dt
time_step(problem::TeacherStudent, dt, level) = problem.lr[level] / problem.points
