# Recursions of SGD, computed as they stand. Their steppers know the number of the step, since learning rates change.

struct DirectTeacherStudent
    s_star::Vector{Float64}
    rate::Vector{Float64}
    eta::Float64  # where the rate is 1
    noise::Float64  # σ
end
stepper(problem::TeacherStudent, ::Direct, noise, eta) =
    DirectTeacherStudent(problem.s_star, problem.rate, eta, noise)

function step!(stepper::DirectTeacherStudent, states, normals, k, number)
    s_star, noise, modes = stepper.s_star, stepper.noise, length(stepper.s_star)
    @inbounds for n in axes(states, 2)
        eta = stepper.rate[number] * stepper.eta
        @simd ivdep for i in 1:modes
            u, v = states[i, n], states[modes+i, n]
            a = eta * muladd(noise, normals[i, n, k], muladd(u, v, -s_star[i]))
            states[i, n], states[modes+i, n] = muladd(-a, v, u), muladd(-a, u, v)
        end
    end
end
