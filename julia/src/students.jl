# Nonlinear students that learn a nonlinear teacher: SGD on a network of fully connected layers, gradients by hand.
#
# A step of a student is a few loops over its N examples, which lie side by side in memory, so that they vectorize
# whatever the number of students is.

"""A layer's place in the weights: `matrix` and `bias` of them come before its matrix (by rows) and its bias."""
struct Layer
    inputs::Int
    outputs::Int
    matrix::Int
    bias::Int  # −1: none
end

"""The layers of widths such as [inputs, 32, 1], and the number P of their weights."""
function layers_of(widths, biases)
    layers, at = Layer[], 0
    for (inputs, outputs) in zip(widths, widths[2:end])
        push!(layers, Layer(inputs, outputs, at, biases ? at + inputs * outputs : -1))
        at += (inputs + biases) * outputs
    end
    layers, at
end

"""
    Students(...)

Students of T teachers; each teacher has N examples of its own, and its share of the trajectories, in order. A student
is a network with one output f, trained by SGD with momentum μ and weight decay λ,

    m ← μ m + g + λ w,    w ← w − lr rate m

with a rate for each step and an lr for each noise level σ. The gradient g is that of Σ(f − y)²/(2B) over B examples,
all or new ones at each step, plus a noise of kind

- `label`: −(σ/B) Jᵀξ, ξ ~ N(0, 1), J (B, P) the derivatives of f; so targets are y + σξ;
- `frozen`: the same with the J of the start;
- `isotropic`: σ/B ‖J‖ / √P ξ, as strong as that of labels, the same in all directions.

A state is (weights, training error, test error), the errors mean squares of f − y; or for two neurons (weights,
momenta).
"""
struct Students{A<:Activation} <: Problem
    layers::Vector{Layer}
    weights::Int               # P
    activation::A
    x::Array{Float64,3}        # (N, inputs, T)
    y::Matrix{Float64}         # (N, T)
    x_test::Array{Float64,3}
    y_test::Matrix{Float64}
    start::Matrix{Float64}     # (P, trajectories), or (P, 1): the same for all
    rate::Vector{Float64}
    lr::Vector{Float64}
    batch::Int                 # B
    momentum::Float64
    weight_decay::Float64
    noise::String
    two_neurons::Bool
    trajectories::Int
end

dimension(problem::Students) = problem.weights + (problem.two_neurons ? problem.weights : 2)
working(problem::Students) = 2problem.weights  # and their momenta
draws(problem::Students) = problem.noise == "isotropic" ? problem.weights : problem.batch
block_size(::Students) = 1  # a step is long enough
time_step(problem::Students, dt, level) = problem.lr[level]

function start!(states, problem::Students, stream, trajectories)
    states[1:problem.weights, 1] .= @view problem.start[:, min(first(trajectories), end)]
    states[problem.weights+1:end, 1] .= 0.0
    states
end

"""What a pass through the network leaves for a number of examples; hidden layers have a matrix (examples, width)."""
struct Pass
    activations::Vector{Matrix{Float64}}
    slopes::Vector{Matrix{Float64}}
    deltas::Vector{Matrix{Float64}}  # derivatives by what goes into the activation, times the seed
    output::Vector{Float64}
    seed::Vector{Float64}  # what the derivatives of each example are multiplied by
    inputs::Vector{Float64}  # scratch of `power`
    squares::Vector{Float64}
end
function Pass(layers, examples)
    hidden() = [zeros(examples, layer.outputs) for layer in layers[1:end-1]]
    Pass(hidden(), hidden(), hidden(), ntuple(_ -> zeros(examples), 4)...)
end

"""f of all rows of `x`, in `pass.output`."""
function forward!(pass::Pass, layers, activation::Activation, weights, x)
    below = x
    for l in 1:length(layers)-1
        linear!(pass.activations[l], weights, layers[l], below)
        activate!(pass.activations[l], pass.slopes[l], activation.f)
        below = pass.activations[l]
    end
    linear!(pass.output, weights, layers[end], below)
end

"""The derivatives of Σ seed f by the weights into `gradient`, after `forward!` with the same arguments."""
function backward!(gradient, pass::Pass, layers, weights, x)
    seed, hidden = pass.seed, length(layers) - 1
    for l in hidden:-1:1
        l == hidden ? transposed!(pass.deltas[l], weights, layers[l+1], seed) :
                      transposed!(pass.deltas[l], weights, layers[l+1], pass.deltas[l+1])
        scale!(pass.deltas[l], pass.slopes[l])
        outer!(gradient, layers[l], pass.deltas[l], l == 1 ? x : pass.activations[l-1])
    end
    outer!(gradient, layers[end], seed, hidden == 0 ? x : pass.activations[hidden])
end

"""‖J‖² over the examples, after `backward!` with a seed of ones."""
function power(pass::Pass, layers, x)
    total, hidden = 0.0, length(layers) - 1
    for l in 1:length(layers)
        inputs = squares!(pass.inputs, l == 1 ? x : pass.activations[l-1], layers[l].bias >= 0 ? 1.0 : 0.0)
        total += l > hidden ? sum(inputs) : dot(inputs, squares!(pass.squares, pass.deltas[l], 0.0))
    end
    total
end

"""The sums of the squares of the rows of `matrix`, plus `more`."""
function squares!(out, matrix, more)
    examples = length(out)
    fill!(out, more)
    @inbounds for j in axes(matrix, 2)
        @simd ivdep for n in 1:examples
            out[n] = muladd(matrix[n, j], matrix[n, j], out[n])
        end
    end
    out
end

"""out = input Wᵀ + b for the layer with the matrix W."""
function linear!(out, weights, layer, input)
    examples, inputs = size(input, 1), layer.inputs
    @inbounds for j in 1:layer.outputs
        at, column = layer.matrix + (j - 1) * inputs, (j - 1) * examples
        bias = layer.bias >= 0 ? weights[layer.bias+j] : 0.0
        @simd ivdep for n in 1:examples
            out[column+n] = bias
        end
        four = inputs & ~3
        for i in 1:4:four
            a, b, c, d = weights[at+i], weights[at+i+1], weights[at+i+2], weights[at+i+3]
            @simd ivdep for n in 1:examples
                sum = muladd(b, input[n, i+1], muladd(a, input[n, i], out[column+n]))
                out[column+n] = muladd(d, input[n, i+3], muladd(c, input[n, i+2], sum))
            end
        end
        for i in four+1:inputs
            a = weights[at+i]
            @simd ivdep for n in 1:examples
                out[column+n] = muladd(a, input[n, i], out[column+n])
            end
        end
    end
    out
end

"""out = above W for the layer with the matrix W."""
function transposed!(out, weights, layer, above)
    examples, inputs = size(out, 1), layer.inputs
    @inbounds for i in 1:inputs
        at = layer.matrix + i
        for j in 1:layer.outputs
            a, column, first = weights[at+(j-1)*inputs], (j - 1) * examples, j == 1
            @simd ivdep for n in 1:examples
                out[n, i] = muladd(a, above[column+n], ifelse(first, 0.0, out[n, i]))
            end
        end
    end
    out
end

"""The gradient of a layer: deltaᵀ input of its matrix, and the sums of delta of its bias."""
function outer!(gradient, layer, delta, input)
    examples, inputs = size(input, 1), layer.inputs
    @inbounds for j in 1:layer.outputs
        at, column = layer.matrix + (j - 1) * inputs, (j - 1) * examples
        four = inputs & ~3
        for i in 1:4:four
            a = b = c = d = 0.0
            @simd for n in 1:examples
                δ = delta[column+n]
                a = muladd(δ, input[n, i], a)
                b = muladd(δ, input[n, i+1], b)
                c = muladd(δ, input[n, i+2], c)
                d = muladd(δ, input[n, i+3], d)
            end
            gradient[at+i], gradient[at+i+1], gradient[at+i+2], gradient[at+i+3] = a, b, c, d
        end
        for i in four+1:inputs
            a = 0.0
            @simd for n in 1:examples
                a = muladd(delta[column+n], input[n, i], a)
            end
            gradient[at+i] = a
        end
        if layer.bias >= 0
            a = 0.0
            @simd for n in 1:examples
                a += delta[column+n]
            end
            gradient[layer.bias+j] = a
        end
    end
end

"""Put φ of `activations` in their place, and φ' into `slopes`."""
function activate!(activations, slopes, f::F) where {F}
    @inbounds @simd ivdep for k in eachindex(activations)
        activations[k], slopes[k] = f(activations[k])
    end
end

function scale!(deltas, slopes)
    @inbounds @simd ivdep for k in eachindex(deltas)
        deltas[k] *= slopes[k]
    end
end

"""Trains the student of one trajectory at a time, which `begin!` names; belongs to one task."""
mutable struct DirectStudents{A<:Activation}
    problem::Students{A}
    noise::Float64  # σ
    lr::Float64
    teacher::Int
    x::Matrix{Float64}  # (N, inputs): the teacher's examples
    x_batch::Matrix{Float64}  # (B, inputs): those of a step
    y_batch::Vector{Float64}
    picks::Matrix{Int}  # (B, steps) which they are; none where a step takes all
    pass::Pass
    testing::Pass
    gradient::Vector{Float64}
    jacobian::Matrix{Float64}  # (P, N) of the start, where the noise is frozen
end

function stepper(problem::Students, ::Direct, noise, lr)
    (N, inputs, _), B, P = size(problem.x), problem.batch, problem.weights
    DirectStudents(problem, noise, lr, 0, zeros(N, inputs), zeros(B, inputs), zeros(B),
                   Matrix{Int}(undef, B < N ? B : 0, CHUNK), Pass(problem.layers, B),
                   Pass(problem.layers, size(problem.x_test, 1)), zeros(P),
                   zeros(P, problem.noise == "frozen" ? N : 0))
end

function begin!(student::DirectStudents, states, trajectories)
    problem = student.problem
    teachers = size(problem.x, 3)
    student.teacher = cld(first(trajectories) * teachers, problem.trajectories)
    student.x .= @view problem.x[:, :, student.teacher]
    if isempty(student.picks)
        student.x_batch .= student.x
        student.y_batch .= @view problem.y[:, student.teacher]
    end
    if problem.noise == "frozen"
        N = size(student.x, 1)
        pass, column = Pass(problem.layers, N), zeros(problem.weights)
        forward!(pass, problem.layers, problem.activation, view(states, 1:problem.weights, 1), student.x)
        for n in 1:N
            pass.seed .= (1:N) .== n
            backward!(column, pass, problem.layers, view(states, 1:problem.weights, 1), student.x)
            student.jacobian[:, n] = column
        end
    end
end

draw!(student::DirectStudents, steps, stream) =
    isempty(student.picks) || pick!(student.picks, steps, size(student.x, 1), stream)

function step!(student::DirectStudents, states, normals, k, number)
    problem, pass, gradient = student.problem, student.pass, student.gradient
    layers, P, B, σ = problem.layers, problem.weights, problem.batch, student.noise
    isempty(student.picks) || gather!(student, k)
    x, y, seed, f = student.x_batch, student.y_batch, pass.seed, pass.output
    forward!(pass, layers, problem.activation, states, x)
    isotropic = 0.0
    if problem.noise == "isotropic"
        seed .= 1.0
        backward!(gradient, pass, layers, states, x)
        isotropic = σ / B * sqrt(power(pass, layers, x) / P)
    end
    labels = problem.noise == "label" ? B : 0
    @inbounds for n in 1:B
        seed[n] = (n <= labels ? f[n] - y[n] - σ * normals[n, 1, k] : f[n] - y[n]) / B
    end
    backward!(gradient, pass, layers, states, x)
    if problem.noise == "frozen"
        for n in 1:B
            a, column = -σ / B * normals[n, 1, k], isempty(student.picks) ? n : student.picks[n, k]
            @inbounds @simd for i in 1:P
                gradient[i] = muladd(a, student.jacobian[i, column], gradient[i])
            end
        end
    elseif problem.noise == "isotropic"
        @inbounds @simd for i in 1:P
            gradient[i] = muladd(isotropic, normals[i, 1, k], gradient[i])
        end
    end
    lr, μ, λ = student.lr * problem.rate[number], problem.momentum, problem.weight_decay
    @inbounds @simd ivdep for i in 1:P
        w = states[i, 1]
        momentum = muladd(μ, states[P+i, 1], muladd(λ, w, gradient[i]))
        states[P+i, 1] = momentum
        states[i, 1] = muladd(-lr, momentum, w)
    end
end

"""Put the examples of step `k` of a chunk side by side."""
function gather!(student, k)
    y = student.problem.y
    @inbounds for n in eachindex(student.y_batch)
        example = student.picks[n, k]
        student.y_batch[n] = y[example, student.teacher]
        for i in axes(student.x, 2)
            student.x_batch[n, i] = student.x[example, i]
        end
    end
end

function observe!(out, student::DirectStudents, states)
    problem, P = student.problem, student.problem.weights
    if problem.two_neurons
        out .= states
    else
        out[1:P, 1] = @view states[1:P, 1]
        training = isempty(student.picks) ? student.pass : Pass(problem.layers, size(student.x, 1))
        out[P+1, 1] = mean_square(training, student, states, student.x, problem.y)
        out[P+2, 1] = mean_square(student.testing, student, states, @view(problem.x_test[:, :, student.teacher]),
                                  problem.y_test)
    end
end

function mean_square(pass, student, states, x, y)
    forward!(pass, student.problem.layers, student.problem.activation, states, x)
    sum(n -> (pass.output[n] - y[n, student.teacher])^2, axes(y, 1)) / size(y, 1)
end

"""A student whose weights have left all bounds says so, and the rate to try, rather than train on."""
function check(student::DirectStudents, states, trajectories, at)
    student.problem.two_neurons || all(isfinite, states) ||
        throw(SpecError("spec.toml: lr = $(student.lr) is too large: at noise level $(student.noise) the weights of " *
                        "trajectory $(first(trajectories) - 1) exploded by step $at; try lr = $(student.lr / 4)"))
end
