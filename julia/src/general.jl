# The linear teacher–student in its general form: SGD with mini-batches on a product of two full matrices.

"""
    GeneralTeacherStudent(x, y, v, u, rate, lr, sizes)

SGD on ‖X V U − Y‖²/2 per example from the start V (n, n), U (n, m), over mini-batches of N examples without repetition:

    V ← V − lr Xᵀ(X V U − Y) Uᵀ/B,    U ← U − lr (X V)ᵀ(X V U − Y)/B

with a rate for each step, and an lr and a size B for each noise level. The noise level is B; a state is (V, U), by
rows. Matrices are transposed here, since Julia's are stored by columns.
"""
struct GeneralTeacherStudent <: Problem
    x::Matrix{Float64}  # (n, N)
    y::Matrix{Float64}  # (m, N)
    v::Matrix{Float64}  # (n, n)
    u::Matrix{Float64}  # (m, n)
    rate::Vector{Float64}
    lr::Vector{Float64}
end

dimension(problem::GeneralTeacherStudent) = length(problem.v) + length(problem.u)
draws(::GeneralTeacherStudent) = 0
block_size(::GeneralTeacherStudent) = 1
time_step(problem::GeneralTeacherStudent, dt, level) = problem.lr[level]
start!(states, problem::GeneralTeacherStudent, stream, trajectories) =
    states .= [vec(problem.v); vec(problem.u)]

"""Belongs to one task; `full` where a step takes all examples, whose products are then made once."""
struct DirectGeneralTeacherStudent
    problem::GeneralTeacherStudent
    lr::Float64
    full::Bool
    picks::Matrix{Int}  # (B, steps)
    x::Matrix{Float64}  # (n, B), of the mini-batch; where all are taken x xᵀ (n, n)
    y::Matrix{Float64}  # (m, B), of the mini-batch; where all are taken y xᵀ (m, n)
    hidden::Matrix{Float64}
    residual::Matrix{Float64}
    back::Matrix{Float64}
    dv::Matrix{Float64}
    du::Matrix{Float64}
end

function stepper(problem::GeneralTeacherStudent, ::Direct, size_of_batch, lr)
    BLAS.set_num_threads(1)  # blocks share out the threads
    (n, N), m, B = size(problem.x), size(problem.y, 1), Int(size_of_batch)
    full = B == N
    x, y = full ? (problem.x * problem.x' / N, problem.y * problem.x' / N) : (zeros(n, B), zeros(m, B))
    columns = size(x, 2)
    DirectGeneralTeacherStudent(problem, lr, full, Matrix{Int}(undef, full ? 0 : B, CHUNK), x, y, zeros(n, columns),
                                zeros(m, columns), zeros(n, columns), zeros(n, n), zeros(m, n))
end

draw!(stepper::DirectGeneralTeacherStudent, steps, stream) =
    stepper.full || pick!(stepper.picks, steps, size(stepper.problem.x, 2), stream)

function step!(stepper::DirectGeneralTeacherStudent, states, normals, k, number)
    problem, x, y = stepper.problem, stepper.x, stepper.y
    squares = length(problem.v)
    v = reshape(view(states, 1:squares, 1), size(problem.v))
    u = reshape(view(states, squares+1:size(states, 1), 1), size(problem.u))
    lr = stepper.lr * problem.rate[number]
    if !stepper.full
        for column in axes(x, 2)
            example = stepper.picks[column, k]
            x[:, column] .= @view problem.x[:, example]
            y[:, column] .= @view problem.y[:, example]
        end
    end
    mul!(stepper.hidden, v, x)  # (X V)ᵀ
    stepper.residual .= y
    scale = stepper.full ? 1.0 : 1 / size(x, 2)
    mul!(stepper.residual, u, stepper.hidden, scale, -scale)  # of the mini-batch; all: U V's residual times XᵀX
    mul!(stepper.back, u', stepper.residual)
    if stepper.full
        mul!(stepper.du, stepper.residual, v')
        stepper.dv .= stepper.back
    else
        mul!(stepper.du, stepper.residual, stepper.hidden')
        mul!(stepper.dv, stepper.back, x')
    end
    v .-= lr .* stepper.dv
    u .-= lr .* stepper.du
end
